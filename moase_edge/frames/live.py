"""A live source: whatever gives frames at its own pace, of which only the newest matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from moase_edge.frames.frame import Frame
from moase_edge.frames.newest import NewestFrame, Producer
from moase_edge.frames.opencv import rgb_from_opencv
from moase_edge.frames.redact import redact
from moase_edge.frames.source import Source, SourceCounts


class LiveSource(Source):
    """Hands out the newest frame of a producer, in RGB. It ends only by `close()` or by being lost.

    Reading starts at once, so that the first frame is as new as any other. Frames that nobody takes are not
    converted. `Frame.captured_ns` is the moment at which the producer gave the frame.
    """

    live = True
    length: int | None = None

    def __init__(
        self,
        name: str,
        producer: Producer,
        *,
        wait_s: float = 5.0,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Read `producer`, whose frames are in OpenCV's channel order; wait at most `wait_s` for each frame."""
        self.name = redact(name)
        self.counts = SourceCounts()
        self._newest = NewestFrame(producer, name=self.name, wait_s=wait_s, clock_ns=clock_ns)

    @property
    def waiting(self) -> bool:
        """Whether a frame came since the last one was handed out."""
        return self._newest.waiting

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time one is asked for.

        Raises:
            SourceError: "source lost": no frame came within the time limit, or the producer raised.
        """
        while (captured := self._newest.take()) is not None:
            image, converted = rgb_from_opencv(captured.image)
            self.counts.count(image, converted=converted)
            self._count_reads()
            yield Frame(image, captured.index, captured.captured_ns)

    def close(self) -> None:
        """Stop reading and release the device; returns after 2 s at most, also from another thread."""
        self._newest.close()
        self._count_reads()

    def _count_reads(self) -> None:
        self.counts.dropped = self._newest.dropped
        self.counts.decode_errors = self._newest.failed_reads
