"""A labelled stream as a source of frames, so that experiments run the shipped pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from time import perf_counter_ns
from typing import Protocol

from moase_edge.data.labelled import LabelledImage
from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source, SourceCounts


class LabelledStream(Sized, Iterable[LabelledImage], Protocol):
    """Labelled pictures of known number, in order."""


class LabelledSource(Source):
    """Frames of a labelled stream; they wait for the consumer.

    Args:
        stream: what is shown.
        name: for reports.
    """

    def __init__(self, stream: LabelledStream, name: str) -> None:
        self.name = name
        self.live = False
        self.length: int | None = len(stream)
        self.counts = SourceCounts()
        self._pictures = enumerate(stream)

    def frames(self) -> Iterator[Frame]:
        """Every picture with its label and domain."""
        while (numbered := next(self._pictures, None)) is not None:
            index, picture = numbered
            self.counts.count(picture.image, converted=False)
            yield Frame(
                image=picture.image,
                index=index,
                captured_ns=perf_counter_ns(),
                label=picture.label,
                domain=picture.domain,
            )

    def close(self) -> None:
        """End the stream."""
        self._pictures = enumerate(())
