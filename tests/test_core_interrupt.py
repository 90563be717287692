"""Ctrl-C asks a loop to stop between two steps; silent progress shows nothing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from wirework.core.interrupt import Interruptible, interrupted
from wirework.core.progress import silent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    steps = 0
    with Interruptible() as stop:
        while not stop.requested:
            steps += 1
            if steps == 3:
                os.kill(os.getpid(), number)
    assert steps == 3
    assert signal.getsignal(number) is before


def test_the_second_signal_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruptible() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_is_asked_without_a_signal() -> None:
    with Interruptible() as stop:
        assert not stop.requested


def test_in_another_thread_it_does_nothing() -> None:
    seen: list[bool] = []

    def work() -> None:
        with Interruptible() as stop:
            seen.append(stop.requested)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_error_says_how_to_go_on() -> None:
    error = interrupted(20, 100, "wirework train tiny --out runs/tiny --resume")
    assert error.code == "interrupted"
    assert "step 20 of 100" in error.message
    assert error.hint.endswith("--resume")


def test_silent_progress_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with silent("training", total=3, done=1) as bar:
        bar.advance()
        bar.advance(2, loss=2.3, name="x")
    assert capfd.readouterr() == ("", "")
