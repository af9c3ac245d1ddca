"""The parent's end of the process that reads a live source."""

from __future__ import annotations

import json
import logging
import mmap
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.live import Grabbed
from moase_edge.frames.redact import printable, redact, scrub
from moase_edge.frames.wire import LOST, NEXT, OPENED, PEEK, STATE, Message, unpack

logger = logging.getLogger(__name__)

# The same modules as here, wherever they are, and none of the current folder while it starts.
# An address with a password in it goes through the pipe alone. Unbuffered: FFmpeg's reason for a failure is lost
# otherwise when the child ends.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from moase_edge.frames.child import main; main()"
)
_SLICE_S = 0.05  # between two looks at whether the wait is over for another reason
_START_S = 20.0  # for Python and OpenCV to load on a machine that is busy, besides the time for opening
_GRACE_S = 1.0  # the child's own time limits come first: they say more
_END_S = 1.5
_MOST_ERROR_BYTES = 65_536
_LIBRARY = re.compile(r"^(\[[^\]]*\] *)+")  # which FFmpeg names before its message


class ChildGrabber:
    """Frames of a live source that a child process reads.

    The child is ended by `close()`, whatever it does, and ends by itself when this process does.
    """

    def __init__(self, uri: str, settings: SourceSettings, *, stopped: Callable[[], bool]) -> None:
        """Start the child and wait until it has opened `uri`.

        Args:
            stopped: asked while waiting; once it is true, opening is given up.

        Raises:
            SourceError: the source cannot be opened, or not in time.
        """
        self._uri = uri
        self._wait_s = settings.wait_s + _GRACE_S
        self._mapped: mmap.mmap | None = None
        self._lost: SourceError | None = None  # found when nobody waited for a frame
        try:
            self._memory = os.memfd_create("frames")
        except OSError as exc:
            raise SourceError(f"no memory for the frames of {redact(uri)}: {exc.strerror}") from exc
        self._process = self._start()
        try:
            self._ask(settings)
            message = self._hear(_START_S + settings.open_s, stopped)
            if message is not None and message.kind != OPENED:
                raise SourceError(f"{message.text}{self._errors()}")
        except BaseException:
            self.close()
            raise

    def grab(self, stopped: Callable[[], bool]) -> Grabbed | None:
        """The newest frame that was not grabbed yet, waiting for one if need be; None once stopped.

        Its pixels are valid until the next grab.

        Raises:
            SourceError: the source is lost.
        """
        if self._lost is not None:
            raise self._lost
        self._send(NEXT)
        message = self._hear(self._wait_s, stopped)
        if message is None:
            return None
        if message.kind == LOST:
            raise SourceError(message.text)
        return Grabbed(self._pixels(message), message.index, message.captured_ns, message.failed_reads)

    def waiting(self) -> bool:
        """Whether a newer frame is there; False also where the child does not say, which the next grab tells."""
        if self._lost is None:
            try:
                self._send(PEEK)
                message = self._hear(_GRACE_S, lambda: False)
                if message is not None and message.kind == STATE:
                    return message.index > 0
                self._lost = SourceError(
                    f"source lost: {redact(self._uri)}: its reader answers what was not asked"
                )
            except SourceError as exc:
                self._lost = exc
        return False

    def close(self) -> None:
        """End the child, and what it started; takes two seconds at most."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            with suppress(OSError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._reap()
            os.close(self._memory)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if self._mapped is not None:
            with suppress(BufferError):  # somebody still looks at the latest frame: it goes when he is done
                self._mapped.close()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-u", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(self._memory,),
                start_new_session=True,  # Ctrl-C is the parent's, and everything it started can be ended together
            )
        except OSError as exc:
            os.close(self._memory)
            raise SourceError(f"cannot start a process to read {redact(self._uri)}: {exc.strerror}") from exc
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        return process

    def _ask(self, settings: SourceSettings) -> None:
        request = {
            "uri": self._uri,
            "name": redact(self._uri),
            "settings": settings.model_dump(),
            "memory": self._memory,
        }
        self._send("".join(f"{json.dumps(line)}\n" for line in (sys.path, request)).encode())

    def _send(self, data: bytes) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(data)
        except BrokenPipeError:
            pass  # it is gone; what it said last is still to be read
        except OSError as exc:
            raise SourceError(f"source lost: {redact(self._uri)}: {exc.strerror}") from exc

    def _hear(self, wait_s: float, stopped: Callable[[], bool]) -> Message | None:
        """The child's next answer, None once stopped.

        Raises:
            SourceError: it gave none in time, or nonsense, or ended.
        """
        deadline = time.monotonic() + wait_s

        def read_exactly(count: int) -> bytes:
            data = b""
            while len(data) < count:
                data += self._read(count - len(data), deadline, stopped)
            return data

        try:
            message = unpack(read_exactly)
        except _Stopped:
            return None
        except SourceError as exc:
            raise SourceError(f"source lost: {redact(self._uri)}: {exc}") from exc
        text = printable(scrub(message.text, self._uri))
        return message if text == message.text else Message(message.kind, text=text)

    def _read(self, count: int, deadline: float, stopped: Callable[[], bool]) -> bytes:
        pipe: Any = self._process.stdout
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while not poll.poll(1000 * _SLICE_S):
            if stopped():
                raise _Stopped
            if time.monotonic() > deadline:
                raise SourceError("its reader hangs and was ended")
        data: bytes = os.read(pipe.fileno(), count)
        if not data:
            raise SourceError(f"its reader ended{self._how()}")
        return data

    def _how(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_END_S)
            return f" by signal {-code}" if code < 0 else f" with code {code}{self._errors()}"
        return ""

    def _errors(self) -> str:
        """The last thing that the child wrote to standard error, as the end of a sentence."""
        pipe: Any = self._process.stderr
        try:
            written = os.read(pipe.fileno(), _MOST_ERROR_BYTES)
        except BlockingIOError:
            return ""
        lines = [line for line in written.decode("utf-8", "replace").splitlines() if line.strip()]
        last = _LIBRARY.sub("", lines[-1].strip()) if lines else ""
        return f" ({printable(scrub(last, self._uri))})" if last else ""

    def _pixels(self, message: Message) -> NDArray[Any]:
        if self._mapped is None or len(self._mapped) < message.nbytes:
            # Memory behind the end of a file that is mapped ends the process where it is read.
            if os.fstat(self._memory).st_size < message.nbytes:
                raise SourceError(
                    f"source lost: {redact(self._uri)}: its reader offers a frame that it does not hold"
                )
            try:
                self._mapped = mmap.mmap(self._memory, message.nbytes, prot=mmap.PROT_READ)
            except OSError as exc:
                raise SourceError(f"source lost: {redact(self._uri)}: {exc.strerror}") from exc
        dtype = np.uint8 if message.bits == 8 else np.uint16
        count = message.height * message.width * message.channels
        return np.frombuffer(self._mapped, dtype, count).reshape(message.height, message.width, message.channels)

    def _reap(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            logger.warning("the reader of %s is stuck in the kernel; left behind", redact(self._uri))


class _Stopped(Exception):  # noqa: N818 - an event, no error
    """Nobody waits for the answer any more."""
