"""Processes that work for this one: they end when it ends, and leave an interruption to it.

What they import first is this module, which is light.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.managers import SyncManager
from queue import Queue
from threading import Thread


def end_with_parent() -> None:
    """Let this process end as soon as its parent is gone, killed or not, whatever it is doing then."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def numbers_to_take(count: int) -> Iterator[Queue[int]]:
    """0 .. count - 1 in a queue that can be handed to other processes."""
    manager = SyncManager(ctx=get_context("spawn"))
    with _interrupts_kept_here():
        manager.start(end_with_parent)
    with manager:
        queue = manager.Queue()
        for number in range(count):
            queue.put(number)
        yield queue


@contextmanager
def run_in_processes(jobs: int, work: Callable[..., None], *arguments: object) -> Iterator[set[Future[None]]]:
    """`work(*arguments)` in each of `jobs` processes, which are ended where the block is left by an error.

    They are spawned, also a single one: each starts from the same state of every library.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        try:
            with _interrupts_kept_here():
                pending = {pool.submit(work, *arguments) for _ in range(jobs)}
            yield pending
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise


@contextmanager
def _interrupts_kept_here() -> Iterator[None]:
    """A process that is started here never hears of Ctrl-C, which a terminal sends to all.

    This one ends its children; their own tracebacks would drown its words. A process inherits what is blocked, so
    that not even one that has just begun is caught by it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
