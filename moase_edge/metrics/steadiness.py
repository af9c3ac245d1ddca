"""Whether a measurement has settled, how it jitters and where it drifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WINDOWS = 3


def is_steady(medians: Sequence[float], *, within: float) -> bool:
    """Whether the last three windows' medians lie within a share of the smallest of them.

    Args:
        medians: of windows of a measurement, in order, any positive unit.
        within: 0.05 for 5 %.
    """
    last = medians[-_WINDOWS:]
    return len(last) == _WINDOWS and max(last) <= (1 + within) * min(last)


def jitter(durations: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean absolute difference of neighbours, in their unit; NaN for fewer than two."""
    return float(np.abs(np.diff(durations)).mean()) if len(durations) > 1 else float("nan")


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line through the points, unit of y by unit of x; NaN where x does not vary."""
    if len(x) < 2 or np.ptp(x) == 0:
        return float("nan")
    centred = np.asarray(x, dtype=np.float64) - np.mean(x)
    return float(centred @ np.asarray(y, dtype=np.float64) / (centred @ centred))
