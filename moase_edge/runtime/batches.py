"""Take batches from a source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from moase_edge.errors import SourceError
from moase_edge.frames.frame import Frame
from moase_edge.runtime.stages import Stages


def take(frames: Iterator[Frame], size: int, stages: Stages) -> tuple[list[Frame], SourceError | None]:
    """Up to `size` frames, and why there are no more, so that what came before a source was lost is answered.

    What decoding took is a stage of its own, and no part of `capture`.
    """
    batch: list[Frame] = []
    lost = None
    with stages.timed("capture"):
        try:
            for frame in islice(frames, size):
                batch.append(frame)
        except SourceError as exc:
            lost = exc
    decode_ms = min(sum(frame.decode_ms for frame in batch), stages.durations_ms["capture"])
    if decode_ms:
        stages.add("capture", -decode_ms)
        stages.add("decode", decode_ms)
    return batch, lost
