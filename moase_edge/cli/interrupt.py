"""How a signal ends a command: one line, 128 plus its number, no traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# SIGHUP: the terminal was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_signals(line: str, *, unwinding: bool = False) -> Iterator[None]:
    """While the block runs, a signal shows `line` on standard error and ends the process.

    It ends at once: an exception in the midst of importing PyTorch aborts the process, or is taken for a package
    that is not installed.

    Args:
        unwinding: end by SystemExit instead, for a block that has something to clear away; a second signal then
            ends at once.
    """
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if not came:
            # Not print: the signal may have come in the midst of another line.
            with suppress(OSError):
                os.write(2, f"{line}\n".encode(errors="replace"))
        if came or not unwinding:
            os._exit(128 + number)
        came.append(number)
        sys.exit(128 + number)

    with handling_signals(handle):
        yield


@contextmanager
def handling_signals(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While the block runs, `handle` gets every signal that ends a process and is not ignored, as under nohup."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
