"""What an engine feeds as `shift`: the caller's, zeros, or nothing; and shifts that an engine is checked with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.specs import TOKEN_MEANS
from moase_edge.engines.base import Tensors
from moase_edge.errors import EngineError

# Of the shift that steering is checked with, in spreads of a block's token means over channels.
_SHIFT_STD = 0.5


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


def shift_like(token_means: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """A shift (B, L, C) that no block can overlook: noise of mean 0 and spread 1, as large as its token means ask.

    Args:
        token_means, noise: (B, L, C).
    """
    shift: NDArray[np.float32] = np.float32(_SHIFT_STD) * token_means.std(axis=2, keepdims=True) * noise
    return shift


def seeded_shifts(outputs: Sequence[Tensors], *, seed: int = 0) -> tuple[NDArray[np.float32], ...]:
    """A shift (1, L, C) for each frame by its own token means; none of an engine that cannot be steered.

    Args:
        outputs: of each frame, without a shift.
    """
    generator = np.random.default_rng(seed)
    means = [each[TOKEN_MEANS] for each in outputs if TOKEN_MEANS in each]
    return tuple(shift_like(each, generator.standard_normal(each.shape, dtype=np.float32)) for each in means)
