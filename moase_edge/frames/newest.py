"""The newest frame of a producer that does not wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from moase_edge.errors import SourceError

logger = logging.getLogger(__name__)

_RETRY_S = 0.02  # pause after a read that gave nothing, so that an unplugged camera does not take a whole core


class Producer(Protocol):
    """What gives frames at its own pace. Both methods are called by the reader thread only."""

    def read(self) -> NDArray[Any] | None:
        """Block until the next frame; None where none came this time and a further try makes sense.

        The caller owns the array. Anything raised means that the producer is lost.
        """
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """A frame as its producer gave it: `index` from 0 counts every frame read, `captured_ns` is the clock's."""

    image: NDArray[Any]
    index: int
    captured_ns: int


class NewestFrame:
    """Reads a producer in a thread of its own and holds only the newest frame.

    Attributes:
        dropped: frames overwritten by a newer one before anyone took them.
        failed_reads: reads that gave no frame.
    """

    def __init__(
        self,
        producer: Producer,
        *,
        name: str,
        wait_s: float = 5.0,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Start reading. `wait_s` limits each wait for a frame; `name` stands in messages."""
        self.dropped = 0
        self.failed_reads = 0
        self._producer = producer
        self._name = name
        self._wait_s = wait_s
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._newest: Captured | None = None
        self._frames_read = 0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="newest-frame", daemon=True)
        self._thread.start()

    def take(self) -> Captured | None:
        """The newest frame that was not taken yet, waiting for one if need be; None once closed.

        Raises:
            SourceError: no frame came within `wait_s`, or the producer raised.
        """
        with self._changed:
            self._changed.wait_for(self._has_news, timeout=self._wait_s)
            if self._stop.is_set():
                return None
            captured, self._newest = self._newest, None
            if captured is None:
                raise self._lost() from self._failure
            return captured

    @property
    def waiting(self) -> bool:
        """Whether a frame was read that was not taken yet."""
        return self._newest is not None

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop reading and wait up to `timeout_s` for the thread.

        A producer that is stuck in `read()` is left behind; it is released when that read returns.
        """
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning("%s: still blocked in a read after %g s; left behind", self._name, timeout_s)

    def _has_news(self) -> bool:
        return self._newest is not None or self._failure is not None or self._stop.is_set()

    def _lost(self) -> SourceError:
        if self._failure is not None:
            return SourceError(f"source lost: {self._name}: {self._failure}")
        return SourceError(
            f"source lost: {self._name} gave no frame for {self._wait_s:g} s ({self.failed_reads} failed reads); "
            "check that it is connected and that no other program uses it"
        )

    def _run(self) -> None:
        try:
            with closing(self._producer):
                while not self._stop.is_set():
                    self._read_one()
        except Exception as exc:  # a thread has no caller to raise to: the consumer raises it
            with self._changed:
                self._failure = exc
                self._changed.notify_all()

    def _read_one(self) -> None:
        image = self._producer.read()
        if image is None:
            self.failed_reads += 1
            self._stop.wait(_RETRY_S)
            return
        captured_ns = self._clock_ns()
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = Captured(image, self._frames_read, captured_ns)
            self._frames_read += 1
            self._changed.notify_all()
