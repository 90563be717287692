"""Progress bars on stderr, with rate and time left; figures such as the loss beside them."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from wirework.core.progress import Progress, StartProgress, silent

_PLAIN_EVERY = 15.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s", style="cyan")


class _Bar:
    """One rich bar on a terminal."""

    def __init__(self, console: Console, label: str, total: int, done: int) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=console,
        )
        self._task = self._bars.add_task(label, total=total or None, completed=done, shown="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        self._bars.update(self._task, advance=steps, shown=_shown(shown))


class _Lines:
    """The same for a log file: a line now and then instead of a bar that redraws itself."""

    def __init__(self, console: Console, label: str, total: int, done: int) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._done = self._first = done
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._done > self._first:
            self._tell({})

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        self._done += steps
        if time.monotonic() - self._told >= _PLAIN_EVERY:
            self._tell(shown)

    def _tell(self, shown: dict[str, float | int | str]) -> None:
        self._told = time.monotonic()
        passed = max(self._told - self._began, 1e-9)
        rate = (self._done - self._first) / passed
        of = f"/{self._total}" if self._total else ""
        left = (self._total - self._done) / rate if self._total and rate else 0.0
        rest = f", {left:.0f} s left" if left > 0 else f", {passed:.0f} s"
        self._console.print(
            f"{self._label} {self._done}{of} ({rate:.3g}/s{rest}) {_shown(shown)}".rstrip(),
            highlight=False,
        )


def _shown(fields: dict[str, float | int | str]) -> str:
    parts = []
    for name, value in fields.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(f"{name} {text}")
    return "  ".join(parts)


def progress_to(console: Console, quiet: bool) -> StartProgress:
    """Bars on a terminal, lines in a log, nothing where `quiet`."""
    if quiet:
        return silent

    def start(label: str, total: int, done: int = 0) -> Progress:
        kind = _Bar if console.is_terminal else _Lines
        return kind(console, label, total, done)

    return start
