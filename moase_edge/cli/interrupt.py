"""How a signal ends a command: one line, 128 plus its number, no traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType
from typing import NoReturn

# SIGHUP: the terminal was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


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
        """Show the line once; end now, or by SystemExit."""
        if not came:
            # Not print: the signal may have come in the midst of another line.
            with suppress(OSError):
                os.write(2, f"{line}\n".encode(errors="replace"))
        if came or not unwinding:
            end_at_once(number)
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


@contextmanager
def ended_by_a_second_signal() -> Iterator[None]:
    """While the block runs, the second of the handled signals ends the process, whatever it is doing.

    Python calls a handler between two steps of the main thread. That may be never, where it writes to a pipe that
    nobody empties, and the kernel gave the signal to another thread or just before the write began. Here a thread
    of its own is told of every signal.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    Thread(target=_end_at_the_second, args=(reading,), name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)


def _end_at_the_second(reading: int) -> None:
    came = 0
    with open(reading, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            came += number[0] in _SIGNALS
            if came > 1:
                end_at_once(number[0])


def end_at_once(number: int) -> NoReturn:
    """End the process with 128 plus the signal's number, and clear nothing away.

    An ordinary end writes what standard output still holds, and waits for ever where nobody reads it.
    """
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # which a line of progress hides
    os._exit(128 + number)
