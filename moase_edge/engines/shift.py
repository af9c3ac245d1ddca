"""What an engine feeds as `shift`: the caller's, zeros, or nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import EngineError


def fitting_shift(
    shift: NDArray[np.float32] | None, blocks: tuple[int, int] | None, batch: int
) -> NDArray[np.float32] | None:
    """The shift to feed: zeros where none is given, None to an engine that takes none.

    Args:
        shift: (B, L, C) float32, or None.
        blocks: (L, C) of an engine that can be steered, None of another one.
        batch: B.

    Raises:
        EngineError: a shift that this engine cannot take.
    """
    if blocks is None:
        if shift is not None:
            raise EngineError(
                "this engine takes no shift: its artifact was made without `moase-edge export --steer`. "
                "Export again with it, or give no shift."
            )
        return None
    expected = (batch, *blocks)
    if shift is None:
        return np.zeros(expected, dtype=np.float32)
    if shift.shape != expected or shift.dtype != np.float32:
        raise EngineError(
            f"the shift has shape {shift.shape} and type {shift.dtype}; this engine expects {expected} float32 "
            f"(frames, blocks, channels) with {batch} frames. Give one vector for each block of each frame."
        )
    return shift
