"""How far confidence is from accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moase_edge.errors import ConfigError

# A softmax in float32 may end this far above 1.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Frames of similar confidence.

    Attributes:
        low, high: the bin holds confidences above `low`, up to and with `high`; the first one also 0.
        frames: how many.
        confidence: their mean confidence, 0 .. 1; NaN without frames.
        accuracy: share of them that was answered correctly, 0 .. 1; NaN without frames.
    """

    low: float
    high: float
    frames: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error and what it is computed from.

    Attributes:
        error: in percent, 0 .. 100; NaN where no frame has a confidence.
        bins: of equal width, from 0 to 1.
        left_out: frames whose confidence is NaN.
    """

    error: float
    bins: tuple[CalibrationBin, ...]
    left_out: int


def calibration(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15) -> Calibration:
    """Expected calibration error (ECE) over bins of equal width (Guo et al. 2017, arXiv 1706.04599, eq. 3).

    The mean of |accuracy - confidence| over the bins, each weighted by its frames.

    Args:
        confidence: (n,) probability of the answer, 0 .. 1; NaN where there is none.
        correct: (n,) bool, whether the answer is the label.
        bins: 15 in the paper.

    Raises:
        ConfigError: shapes that differ, a confidence outside 0 .. 1, or no bins.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if sure.shape != right.shape or sure.ndim != 1 or bins < 1:
        raise ConfigError(
            f"got confidences of shape {sure.shape}, answers of shape {right.shape} and {bins} bins; "
            "expected one of each a frame and at least one bin"
        )
    known = ~np.isnan(sure)
    sure, right = _within_0_and_1(sure[known]), right[known]
    # Divided, not added up: 3/15 is then the same number as a confidence of 0.2.
    edges = np.arange(bins + 1) / bins
    places = np.maximum(np.searchsorted(edges, sure, side="left") - 1, 0)
    frames = np.bincount(places, minlength=bins)
    sums = [np.bincount(places, weights=values, minlength=bins) for values in (sure, right)]
    error = 100.0 * float(np.abs(sums[0] - sums[1]).sum()) / len(sure) if len(sure) else math.nan
    means = [np.divide(s, frames, out=np.full(bins, math.nan), where=frames > 0).tolist() for s in sums]
    rows = zip(edges[:-1].tolist(), edges[1:].tolist(), frames.tolist(), *means, strict=True)
    return Calibration(error, tuple(CalibrationBin(*row) for row in rows), int(np.sum(~known)))


def _within_0_and_1(sure: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(sure) and not (sure.min() >= 0.0 and sure.max() <= 1.0 + _ROUNDING):
        raise ConfigError(
            f"confidences run from {sure.min():g} to {sure.max():g}; expected probabilities, 0 .. 1, not logits"
        )
    return np.minimum(sure, 1.0)
