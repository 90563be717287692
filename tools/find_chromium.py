"""Finds the Chromium that the browser tests drive; as a program, installs it where it may."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "WIREWORK_CHROMIUM"
"""Environment variable that names the program and goes before everything else."""

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_PROGRAMS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MISSING = f"""\
error: the browser tests need Chromium or Chrome, and none was found
  Debian    apt install chromium
  Ubuntu    snap install chromium
  macOS     brew install --cask chromium
  or name   {VARIABLE}=PATH make test
"""


def find_chromium() -> Path | None:
    """The first Chromium or Chrome that answers `--version`, None where there is none."""
    named = os.environ.get(VARIABLE)
    found = [named] if named else [shutil.which(command) for command in COMMANDS] + [*MAC_PROGRAMS]
    for program in found:
        if program and _answers(program):
            return Path(program)
    return None


def _answers(program: str) -> bool:
    # Ubuntu's `chromium-browser` may be a stub that only says what to install.
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install_chromium() -> None:
    """Try Debian's package; does nothing on other systems or without the right to."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment)
    # A machine without any font would draw pages without text.
    packages = ["chromium", "fonts-dejavu-core"]
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wait, *packages]
    subprocess.run(install, check=False, env=environment, stdout=subprocess.DEVNULL)


def main() -> int:
    if find_chromium() is None:
        install_chromium()
    program = find_chromium()
    if program is None:
        sys.stderr.write(MISSING)
        return 1
    sys.stdout.write(f"browser: {program}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
