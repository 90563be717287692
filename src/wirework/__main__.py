"""`python -m wirework`, which is how a launcher such as `torchrun` starts the program."""

from wirework.cli import main

if __name__ == "__main__":
    main()
