"""What every command shares: the two streams, `--json`, errors without a traceback."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from wirework.cli.progress import progress_to
from wirework.core import WireworkError
from wirework.core.files import require_writable
from wirework.core.progress import StartProgress
from wirework.core.strict_json import strict

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


class Session:
    """One run of a command. Results go to stdout, progress and errors to stderr."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def progress(self) -> StartProgress:
        return progress_to(self.err, quiet=self.as_json)

    def show(self, text: object, value: Any) -> None:
        """`text` for people, or `value` as JSON."""
        if self.as_json:
            typer.echo(json.dumps(strict(value), indent=1, allow_nan=False))
        elif isinstance(text, str):
            typer.echo(text)
        else:
            self.out.print(text)

    def tell(self, line: str) -> None:
        """A remark for people, on stderr."""
        if not self.as_json:
            typer.echo(line, err=True)


@contextlib.contextmanager
def session(as_json: bool) -> Iterator[Session]:
    """Runs a command: a `WireworkError` or Ctrl-C ends it with exit code 1 and no traceback."""
    try:
        yield Session(as_json)
    except WireworkError as error:
        if as_json:
            typer.echo(json.dumps({"error": error.to_json()}, indent=1))
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("error[interrupted]: stopped on request", err=True)
        raise typer.Exit(1) from None


def require_targets(*files: Path | None, picture: Path | None = None) -> None:
    """Tell before any work of a file that could not be written at its end.

    Raises `path-not-writable`, `disk-full`, and `picture-format` for a `picture` that could not be
    drawn.
    """
    for path in (*files, picture):
        if path is not None:
            require_writable(path)
    if picture is not None:
        from wirework.plots import picture_kind

        picture_kind(picture)


def settle_process() -> None:
    """Settings of the process for long work; to be called before torch is imported.

    Threads that wait for each other spin only briefly: on a machine that is shared, long spinning
    takes the time that the others need. And glibc keeps freed memory for the next step: giving
    it back each time costs a quarter of a training step in page faults (design §6).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library, which needs no telling
    library.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    library.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
