"""How long work tells how far it is. The command line shows it; the library stays silent."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self


class Progress(Protocol):
    """One bar. Use it as a context; `advance` may carry fields to show, such as `loss=2.3`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def advance(self, steps: int = 1, **shown: float | int | str) -> None: ...


class StartProgress(Protocol):
    """Starts a bar: what is being done, how many steps in all, how many are done already."""

    def __call__(self, label: str, total: int, done: int = 0) -> Progress: ...


class _Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        return None


def silent(label: str, total: int, done: int = 0) -> Progress:
    """Shows nothing: the default of every library function."""
    return _Silent()
