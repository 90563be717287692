"""The command line: thin commands over the library."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `wirework` program."""
    from wirework.cli.app import app

    app()
