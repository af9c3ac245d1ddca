"""What every source of frames offers, and what it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from moase_edge.frames.frame import Frame

SourceT = TypeVar("SourceT", bound="Source")


@dataclass
class SourceCounts:
    """What happened to the frames of a source so far. Updated while `frames()` is iterated.

    Attributes:
        delivered: frames handed out.
        dropped: live frames overwritten by a newer one before anyone took them.
        skipped: files that are no pictures or cannot be decoded.
        converted: delivered frames that were not RGB with 8 bits a channel.
        resized: delivered frames whose size differs from that of the frame before.
        decode_errors: reads that gave no frame although the source went on.
        reopened: times that a source was lost and came back.
        missing: frames that a video's container promised and that did not come; known at its end.
        size: (height, width) of the last delivered frame, in pixels.
    """

    delivered: int = 0
    dropped: int = 0
    skipped: int = 0
    converted: int = 0
    resized: int = 0
    decode_errors: int = 0
    reopened: int = 0
    missing: int = 0
    size: tuple[int, int] | None = None

    def count(self, image: NDArray[Any], *, converted: bool) -> None:
        """Count one frame (H x W x 3) that is about to be delivered."""
        size = (image.shape[0], image.shape[1])
        self.delivered += 1
        self.converted += converted
        self.resized += self.size is not None and self.size != size
        self.size = size


class Source(Protocol):
    """Where frames come from: a camera, a video file, pictures.

    A source is read once: a second `frames()` goes on where the first one stopped. It is used by one thread, and
    closes itself at the end of a `with` block. One that may wait long for a frame also has `stop()`, which ends
    that wait and the frames soon, and may be called by a signal handler or another thread.

    Attributes:
        name: what is read, fit for printing: no credentials, no control characters.
        live: whether frames come at their own pace, so that a slow consumer misses some. Files wait.
        length: number of frames, where it is known beforehand; an upper bound for damaged files.
        counts: what happened to the frames so far.
        trouble: why no frame comes at the moment, in words; None while frames come.
    """

    name: str
    live: bool
    length: int | None
    counts: SourceCounts
    trouble: str | None = None

    @property
    def waiting(self) -> bool:
        """Whether a frame is there that was not handed out yet; of files one always is."""
        return True

    def frames(self) -> Iterator[Frame]:
        """The frames in order, until the source ends or is closed.

        Raises:
            SourceError: the source was lost, or held nothing that can be read.
        """
        ...

    def close(self) -> None:
        """Release the device or file. Takes bounded time; closing twice is allowed."""
        ...

    def __enter__(self: SourceT) -> SourceT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
