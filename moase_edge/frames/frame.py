"""One frame on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: H x W x 3, RGB, uint8, C-contiguous; owned by the frame.
        index: position in the source from 0, counting frames that were dropped or skipped before it.
        captured_ns: `time.perf_counter_ns()` when the frame was there to be taken: read from a file, decoded from
            a camera or stream, or due in a video that is played by its own clock.
        name: the file it came from, for folders and globs.
        label: class index, where the stream is labelled.
        domain: name of the shift it shows, where the stream says so.
        decode_ms: what decoding it and converting it to RGB took after it was asked for; 0 where that is not told.
    """

    image: NDArray[np.uint8]
    index: int
    captured_ns: int
    name: str | None = None
    label: int | None = None
    domain: str | None = None
    decode_ms: float = 0.0
