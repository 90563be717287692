"""Where the runs of a sweep are performed: here, in processes of this machine, or on Ray."""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from wirework.core import WireworkError
from wirework.discovery.sweep_config import SweepExecution
from wirework.discovery.sweep_worker import Job, Outcome, perform

GRACE = 10.0
"""Seconds that a worker has to end what cannot be interrupted, before it is given up."""

_POLL = 0.2

Stopping = Callable[[], bool]


class Flag(Protocol):
    """A number in memory that processes share; 1 once it is raised."""

    value: int


class Pool(Protocol):
    """Performs jobs and yields each outcome when it is there.

    Once `stopping()` is true no job is begun; those under way store their state.
    """

    def __call__(self, jobs: Sequence[Job], stopping: Stopping) -> Iterator[Outcome]: ...


def open_pool(execution: SweepExecution) -> contextlib.AbstractContextManager[Pool]:
    """Raises what `require_cluster` raises, and `worker-lost` while it is used."""
    if execution.cluster == "ray":
        return _ray(execution)
    if execution.processes() == 1:
        return contextlib.nullcontext(_one_by_one)
    return _processes(execution.processes())


def _one_by_one(jobs: Sequence[Job], stopping: Stopping) -> Iterator[Outcome]:
    for job in jobs:
        outcome = perform(job)
        yield outcome
        if outcome.result is None or stopping():
            return


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Pool]:
    """New processes, so that nothing of this one's threads and locks is copied.

    They don't hear Ctrl-C, which a terminal sends to all: it is this process that tells them, so
    that each is told once.
    """
    context = mp.get_context("spawn")
    # Plain memory: to set an Event is to wait for its listeners, and one of them may be dead.
    stop, now = context.RawValue("b", 0), context.RawValue("b", 0)
    executor = ProcessPoolExecutor(count, context, _become_worker, (stop, now))

    def run(jobs: Sequence[Job], stopping: Stopping) -> Iterator[Outcome]:
        queue = deque(jobs)
        under_way: set[Future[Outcome]] = set()
        try:
            while (queue or under_way) and not stopping():
                # No more than there are workers for: what is queued cannot be called back.
                while queue and len(under_way) < count:
                    under_way.add(executor.submit(perform, queue.popleft()))
                done, under_way = wait(under_way, _POLL, FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise _worker_lost(count) from None
        if under_way:
            stop.value = 1
            for future in wait(under_way).done:
                with contextlib.suppress(BrokenProcessPool):  # given up after GRACE
                    yield future.result()

    try:
        yield run
    except BaseException:
        now.value = stop.value = 1
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _become_worker(stop: Flag, now: Flag) -> None:
    """Runs first in every worker process."""
    if sys.platform != "win32":
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_listen, args=(stop, now), daemon=True).start()


def _listen(stop: Flag, now: Flag) -> None:
    """End the worker when it is told to, or when the process that started it is gone."""
    parent = mp.parent_process()
    assert parent is not None
    while not stop.value:
        time.sleep(_POLL)
        if not parent.is_alive():
            os._exit(1)
    # Where gates are being trained, this stores their state and ends the run.
    os.kill(os.getpid(), signal.SIGINT)
    given_up = time.monotonic() + GRACE
    while not now.value and time.monotonic() < given_up:
        time.sleep(_POLL)
    os._exit(1)


@contextlib.contextmanager
def _ray(execution: SweepExecution) -> Iterator[Pool]:
    """A Ray cluster that is there already, or one on this machine for as long as it is needed."""
    ray = _import_ray()
    mine = not ray.is_initialized()
    if mine:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    remote = ray.remote(num_cpus=execution.threads, max_retries=0)(perform)
    limit = execution.jobs or max(1, int(ray.cluster_resources()["CPU"] // execution.threads))

    def run(jobs: Sequence[Job], stopping: Stopping) -> Iterator[Outcome]:
        queue = deque(jobs)
        under_way: list[Any] = []
        try:
            while (queue or under_way) and not stopping():
                while queue and len(under_way) < limit:
                    under_way.append(remote.remote(queue.popleft()))
                done, under_way = ray.wait(under_way, timeout=_POLL)
                for reference in done:
                    yield ray.get(reference)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            raise _worker_lost(limit) from None
        for reference in under_way:
            ray.cancel(reference, force=False)
        if under_way:
            under_way, _ = ray.wait(under_way, num_returns=len(under_way), timeout=GRACE)
        for reference in under_way:
            with contextlib.suppress(ray.exceptions.RayError):  # called off before it began
                yield ray.get(reference)

    try:
        yield run
    finally:
        if mine:
            ray.shutdown()


def require_cluster(execution: SweepExecution) -> None:
    """Raises `cluster-missing` where Ray is asked for and not installed."""
    if execution.cluster == "ray":
        _import_ray()


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise WireworkError(
            "cluster-missing", "Ray is not installed, so no cluster can be used",
            expected="the package `ray` of the extra `cluster`", got="none",
            hint="pip install 'wirework[cluster]'",
        ) from None  # fmt: skip


def _worker_lost(jobs: int) -> WireworkError:
    return WireworkError(
        "worker-lost", "a process of the sweep was killed; what had ended is stored",
        expected="memory for all runs at a time", got=f"{jobs} at a time",
        hint=f"the same command with --resume --jobs {max(1, jobs // 2)}",
    )  # fmt: skip
