"""The process that reads one live source, so that a read that never returns can be ended.

It holds the newest frame and hands it out when asked (see `wire`). It ends when its standard input does, which is
also how it learns that its parent was killed.
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import sys
import threading
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.newest import Captured, NewestFrame
from moase_edge.frames.producers import open_producer
from moase_edge.frames.wire import FRAME, LOST, NEXT, OPENED, PEEK, STATE, Message, pack

_END_S = 2.0  # for closing the source; a read that hangs must not keep the process


class SharedFrame:
    """Memory that the parent has mapped too; holds one frame and only grows."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory: mmap.mmap | None = None

    def write(self, image: NDArray[Any]) -> None:
        """Copy a frame to the start of the memory."""
        import numpy as np

        if self._memory is None or len(self._memory) < image.nbytes:
            os.ftruncate(self._descriptor, image.nbytes)
            self._memory = mmap.mmap(self._descriptor, image.nbytes)
        np.copyto(np.frombuffer(self._memory, image.dtype, image.size).reshape(image.shape), image)


def main() -> None:
    """Read a request from standard input and serve it until that ends."""
    request = json.loads(sys.stdin.readline())
    answers = _answers_only()
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    try:
        _serve(request, asked, answers)
    except SourceError as exc:
        _say(answers, Message(LOST, text=str(exc)))
    except Exception as exc:  # there is nobody else to tell: the parent shows it
        _say(answers, Message(LOST, text=f"its reader failed: {exc!r}"))
    os._exit(0)  # threads of OpenCV's that are stuck must not keep it


def _serve(request: dict[str, Any], asked: queue.SimpleQueue[bytes], answers: int) -> None:
    settings = SourceSettings(**request["settings"])
    producer = open_producer(request["uri"], settings)
    memory = SharedFrame(request["memory"])
    newest = NewestFrame(producer, name=request["name"], wait_s=settings.wait_s)
    try:
        _say(answers, Message(OPENED))
        _silence_errors()
        while word := asked.get():
            if word == PEEK:
                _say(answers, Message(STATE, index=int(newest.waiting)))
                continue
            captured = newest.take()
            if captured is not None:
                memory.write(captured.image)
                _say(answers, _about(captured, newest.failed_reads))
    finally:
        newest.close(_END_S / 2)


def _about(captured: Captured, failed_reads: int) -> Message:
    image = captured.image
    return Message(
        FRAME,
        height=image.shape[0],
        width=image.shape[1],
        channels=1 if image.ndim == 2 else image.shape[2],
        bits=8 * image.itemsize,
        index=captured.index,
        captured_ns=captured.captured_ns,
        failed_reads=failed_reads,
    )


def _answers_only() -> int:
    """A descriptor for answers alone: libraries print to standard output as they please."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _silence_errors() -> None:
    """Once a source is open, what FFmpeg writes would only fill a pipe that nobody reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _listen(asked: queue.SimpleQueue[bytes]) -> None:
    """Pass on what the parent asks; at its end, see that this process ends, whatever it is doing."""
    while received := os.read(0, 64):
        for place in range(len(received)):
            if (word := received[place : place + 1]) in (NEXT, PEEK):
                asked.put(word)
    asked.put(b"")
    threading.Event().wait(_END_S)
    os._exit(0)


def _say(answers: int, message: Message) -> None:
    with suppress(BrokenPipeError):  # the parent is gone, or no longer interested
        os.write(answers, pack(message))
