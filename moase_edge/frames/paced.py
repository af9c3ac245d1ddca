"""A video by its own clock, as if a camera were recording it now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from moase_edge.errors import ConfigError
from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source
from moase_edge.frames.video import VideoSource

_SLICE_S = 0.05  # between two looks at whether a wait is over for another reason


class PacedVideo(Source):
    """Frames of a video, each at its time; what is late when the next one is due is dropped and counted.

    The clock starts when the first frame is asked for. `Frame.captured_ns` is the moment at which a frame is due,
    so that its age says how far the answer lags behind the picture.
    """

    live = True

    def __init__(
        self,
        video: VideoSource,
        *,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Play `video`, which this source closes.

        Args:
            clock_ns: nanoseconds.
            sleep: waits so many seconds of that clock.

        Raises:
            ConfigError: the video does not say how many frames come in a second.
        """
        self.name, self.length, self.counts = video.name, video.length, video.counts
        self._video = video
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._stopped = False
        self._next_ns: int | None = None  # when the frame after the latest is due
        if video.rate is None:
            video.close()
            raise ConfigError(f"{self.name} states no frame rate, so it has no clock of its own; use --pace full.")

    @property
    def waiting(self) -> bool:
        """Whether the frame after the latest is due already."""
        return self._next_ns is not None and self._next_ns <= self._clock_ns()

    def frames(self) -> Iterator[Frame]:
        """The newest frame that is due, waiting for it if need be."""
        timed = self._timed()
        began_ns: int | None = None
        held = next(timed, None)
        while held is not None and not self._stopped:
            began_ns = self._clock_ns() if began_ns is None else began_ns
            frame, due_ns = held[0], began_ns + held[1]
            held = next(timed, None)
            self._next_ns = None if held is None else began_ns + held[1]
            if held is not None and began_ns + held[1] <= self._clock_ns():
                self.counts.delivered -= 1  # counted when it was decoded
                self.counts.dropped += 1
                continue
            if self._wait_until(due_ns):
                yield replace(frame, captured_ns=due_ns)

    def _timed(self) -> Iterator[tuple[Frame, int]]:
        """Every frame with its time in the video, in nanoseconds from the first."""
        first_s: float | None = None
        for frame in self._video.frames():
            shown_s = self._video.shown_s
            first_s = shown_s if first_s is None else first_s
            yield frame, round(1e9 * (shown_s - first_s))

    def _wait_until(self, due_ns: int) -> bool:
        """Whether the moment came before `stop()`."""
        while (left_ns := due_ns - self._clock_ns()) > 0 and not self._stopped:
            self._sleep(min(left_ns / 1e9, _SLICE_S))
        return not self._stopped

    def stop(self) -> None:
        """End a wait for the next frame, and the frames."""
        self._stopped = True

    def close(self) -> None:
        """Release the file."""
        self._video.close()
