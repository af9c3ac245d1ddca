"""Mean and spread of a stream of vectors, without keeping them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.source_statistics import Moments


class RunningMoments:
    """Takes vectors of C channels, or arrays of one shape, a few at a time, in float64 whatever they come in.

    Sums of squared differences from the running mean are merged (Chan, Golub and LeVeque 1983), which loses no
    digits where the mean is large beside the spread.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: NDArray[np.float64] | np.float64 = np.float64(0)
        self._squares: NDArray[np.float64] | np.float64 = np.float64(0)

    def add(self, rows: NDArray[np.floating]) -> None:
        """Count the vectors `rows` (n, C), or arrays (n, ...), n at least 1."""
        values = rows.astype(np.float64)
        mean = values.mean(axis=0)
        total = self._count + len(values)
        difference = mean - self._mean
        self._squares = (
            self._squares
            + ((values - mean) ** 2).sum(axis=0)
            + difference**2 * (self._count * len(values) / total)
        )
        self._mean = self._mean + difference * (len(values) / total)
        self._count = total

    def moments(self) -> Moments:
        """Mean and population standard deviation, each (C,) or (...), of all so far; one at least is needed."""
        return Moments(np.array(self._mean), np.sqrt(self._squares / self._count))
