"""Take batches from a source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from moase_edge.errors import SourceError
from moase_edge.frames.frame import Frame
from moase_edge.runtime.stages import Stages


def take(frames: Iterator[Frame], size: int, stages: Stages) -> tuple[list[Frame], SourceError | None]:
    """Up to `size` frames, and why there are no more, so that what came before a source was lost is answered."""
    batch: list[Frame] = []
    with stages.timed("capture"):
        try:
            for frame in islice(frames, size):
                batch.append(frame)
        except SourceError as exc:
            return batch, exc
    return batch, None
