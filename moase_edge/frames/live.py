"""A live source: whatever gives frames at its own pace, of which only the newest matters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.opencv import rgb_from_opencv
from moase_edge.frames.redact import redact
from moase_edge.frames.source import Source, SourceCounts

logger = logging.getLogger(__name__)

_SLICE_S = 0.05  # between two looks at whether a pause is over for another reason


@dataclass(frozen=True, slots=True)
class Grabbed:
    """A frame as it came: in OpenCV's channel order, valid until the next one is grabbed.

    Attributes:
        index: counting every frame since the source was opened, from 0.
        captured_ns: `time.perf_counter_ns()` at which it was there.
        failed_reads: reads since then that gave no frame.
    """

    image: NDArray[Any]
    index: int
    captured_ns: int
    failed_reads: int


class Grabber(Protocol):
    """A source that is open."""

    def grab(self, stopped: Callable[[], bool]) -> Grabbed | None:
        """The newest frame that was not grabbed yet, waiting a limited time; None soon after `stopped()`.

        Raises:
            SourceError: the source is lost.
        """
        ...

    def waiting(self) -> bool:
        """Whether a frame is there that was not grabbed yet; answers soon."""
        ...

    def close(self) -> None:
        """Release it, in limited time."""
        ...


class LiveSource(Source):
    """Hands out the newest frame of a live source, in RGB; opens it again when it is lost.

    It ends by `stop()` or `close()`, or by being lost for too long. Frames that nobody takes are not converted.
    """

    live = True
    length: int | None = None

    def __init__(
        self,
        name: str,
        opened: Callable[[Callable[[], bool]], Grabber],
        settings: SourceSettings,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the source.

        Args:
            opened: opens it, now and each time it was lost; is handed what tells whether to give up opening.
            settings: pauses and time limits.

        Raises:
            SourceError: it cannot be opened.
        """
        self.name = redact(name)
        self.counts = SourceCounts()
        self.trouble: str | None = None
        self._open = opened
        self._settings = settings
        self._clock_s = clock_s
        self._stopped = False
        self._first_index = 0  # of the first frame since it was opened
        self._failed_before = 0
        self._grabber: Grabber | None = opened(self._is_stopped)

    @property
    def waiting(self) -> bool:
        """Whether a frame came since the last one was handed out."""
        return self._grabber is not None and self._grabber.waiting()

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time one is asked for.

        Raises:
            SourceError: "source lost": before its first frame, or for longer than the settings allow.
        """
        while (grabbed := self._grab()) is not None:
            began = time.perf_counter_ns()
            image, converted = rgb_from_opencv(grabbed.image)
            decode_ms = (time.perf_counter_ns() - began) / 1e6
            index = self._first_index + grabbed.index
            self.counts.count(image, converted=converted)
            self.counts.dropped = index + 1 - self.counts.delivered
            self.counts.decode_errors = self._failed_before + grabbed.failed_reads
            frame = Frame(image, index, grabbed.captured_ns, decode_ms=decode_ms)
            del grabbed  # the grabber's memory is not to be kept while the frame is worked on
            yield frame

    def stop(self) -> None:
        """End a wait for the next frame, and the frames."""
        self._stopped = True

    def close(self) -> None:
        """Release the source; returns after two seconds at most."""
        self._stopped = True
        self._release()

    def _is_stopped(self) -> bool:
        return self._stopped

    def _grab(self) -> Grabbed | None:
        if self._stopped or self._grabber is None:
            return None
        try:
            return self._grabber.grab(self._is_stopped)
        except SourceError as exc:
            self._release()
            if not self.counts.delivered:
                raise
            return self._again(exc)

    def _again(self, lost: SourceError) -> Grabbed | None:
        """The first frame after an outage; None once stopped.

        Raises:
            SourceError: there was none for as long as it may take.
        """
        began_s = self._clock_s()
        give_up_s = self._settings.give_up_after_s
        logger.warning("%s; it is opened again", lost)
        for pause_s in growing_pauses(self._settings.first_pause_s, self._settings.most_pause_s):
            left_s = pause_s if give_up_s is None else began_s + give_up_s - self._clock_s()
            if left_s <= 0:
                raise SourceError(f"{lost}; given up after {give_up_s:g} s") from lost
            self._pause(min(pause_s, left_s), began_s)
            grabbed = None if self._stopped else self._try()
            if grabbed is not None:
                self._recovered(began_s)
            if grabbed is not None or self._stopped:
                return grabbed
        return None

    def _try(self) -> Grabbed | None:
        try:
            grabber = self._grabber = self._open(self._is_stopped)
            grabbed = grabber.grab(self._is_stopped)
        except SourceError as exc:
            logger.info("%s cannot be opened again yet: %s", self.name, exc)
            self._release()
            return None
        self._first_index = self.counts.delivered + self.counts.dropped
        self._failed_before = self.counts.decode_errors
        return grabbed

    def _recovered(self, began_s: float) -> None:
        self.trouble = None
        self.counts.reopened += 1
        logger.warning("%s is back after %.0f s", self.name, self._clock_s() - began_s)

    def _pause(self, pause_s: float, lost_s: float) -> None:
        until_s = self._clock_s() + pause_s
        while not self._stopped and (left_s := until_s - self._clock_s()) > 0:
            self.trouble = f"source lost {self._clock_s() - lost_s:.0f} s ago, tried again in {left_s:.0f} s"
            time.sleep(min(left_s, _SLICE_S))

    def _release(self) -> None:
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.close()


def growing_pauses(first_s: float, most_s: float) -> Iterator[float]:
    """`first_s`, doubled each time up to `most_s`, without end."""
    pause_s = first_s
    while True:
        yield min(pause_s, most_s)
        pause_s = min(2 * pause_s, most_s)
