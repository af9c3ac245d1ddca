"""Signals wait while TensorRT builds: what a handler raises in one of its callbacks is printed and lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_deferred() -> Iterator[Callable[[], bool]]:
    """Have signals that would end the process wait for the end of the block; their handlers run then.

    Only the main thread can: elsewhere, where Python runs no handlers anyway, nothing waits.

    Returns:
        What tells whether a signal waits, so that long work can be cut short.
    """
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    # None is a handler that was not set from Python, and could not be set again.
    kept = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = {number: handler for number, handler in kept.items() if handler not in (None, signal.SIG_IGN)}
    for number in heard:
        signal.signal(number, lambda came, _frame: waiting.append(came))
    try:
        yield lambda: bool(waiting)
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
