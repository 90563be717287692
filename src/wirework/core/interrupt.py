"""Ctrl-C at a safe place: long loops ask between steps whether they were told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from wirework.core.errors import WireworkError

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Interruptible:
    """Inside, the first Ctrl-C (or SIGTERM) only raises a flag; a second one stops at once.

    A loop calls `requested` between steps, saves its state and raises `interrupted`. Outside the
    main thread, where signals cannot be caught, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.getsignal(number)
                signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def interrupted(step: int, steps: int, hint: str) -> WireworkError:
    """The error a loop raises after saving its state."""
    return WireworkError(
        "interrupted", f"stopped on request after step {step} of {steps}; the state is saved",
        hint=hint,
    )  # fmt: skip
