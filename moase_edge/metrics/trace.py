"""A time series of any length in bounded memory, for plots."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moase_edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TracePoints:
    """Points of a plot, each standing for one or more neighbouring values.

    Attributes:
        x: (n,) float64, mean position of the values behind each point.
        mean: (n,) float64.
        low: (n,) float64, their minimum.
        high: (n,) float64, their maximum.
        count: (n,) int64, how many they are, at least 1.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, x: ArrayLike, values: ArrayLike) -> TracePoints:
        """Points that stand for one value each.

        Raises:
            ConfigError: `x` and `values` are not two lists of equal length.
        """
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64)
        if xs.shape != ys.shape or xs.ndim != 1:
            raise ConfigError(f"got x of shape {xs.shape} and values of shape {ys.shape}; expected equal lengths")
        return cls(xs, ys, ys, ys, np.ones(len(xs), dtype=np.int64))


@dataclass(slots=True)
class _Bucket:
    x_sum: float
    total: float
    low: float
    high: float
    count: int = 1

    def absorb(self, later: _Bucket) -> _Bucket:
        self.x_sum += later.x_sum
        self.total += later.total
        self.low = min(self.low, later.low)
        self.high = max(self.high, later.high)
        self.count += later.count
        return self


class Trace:
    """Values over frames or seconds, kept as at most `capacity` points.

    When all points are taken, neighbours are merged in pairs and each point stands for twice as many values.
    A point keeps minimum, mean and maximum, so no spike is ever lost.
    """

    def __init__(self, capacity: int = 2000) -> None:
        """
        Raises:
            ConfigError: `capacity` is odd or below 2.
        """
        if capacity < 2 or capacity % 2:
            raise ConfigError(f"a trace of {capacity} points cannot be merged in pairs; give an even number")
        self._capacity = capacity
        self._stride = 1
        self._skipped = 0
        self._buckets: list[_Bucket] = []

    def __len__(self) -> int:
        """Number of points, at most the capacity."""
        return len(self._buckets)

    @property
    def stride(self) -> int:
        """How many values a full point stands for."""
        return self._stride

    @property
    def skipped(self) -> int:
        """How many values were left out because they were None, NaN or infinite."""
        return self._skipped

    def add(self, x: float, value: float | None) -> None:
        """Append `value` at `x`. None, NaN and infinities are left out and counted in `skipped`."""
        if value is None or not (math.isfinite(value) and math.isfinite(x)):
            self._skipped += 1
            return
        bucket = _Bucket(float(x), float(value), float(value), float(value))
        if self._buckets and self._buckets[-1].count < self._stride:
            self._buckets[-1].absorb(bucket)
            return
        if len(self._buckets) == self._capacity:
            self._merge_pairs()
        self._buckets.append(bucket)

    def points(self) -> TracePoints:
        """The points so far, as arrays that the caller owns."""
        table = np.array([(b.x_sum, b.total, b.low, b.high) for b in self._buckets], dtype=np.float64).reshape(
            -1, 4
        )
        count = np.array([bucket.count for bucket in self._buckets], dtype=np.int64)
        low, high = table[:, 2].copy(), table[:, 3].copy()
        # A sum of rounded numbers can leave the range of its terms by its last digit.
        mean = np.clip(table[:, 1] / count, low, high)
        return TracePoints(table[:, 0] / count, mean, low, high, count)

    def _merge_pairs(self) -> None:
        earlier, later = self._buckets[::2], self._buckets[1::2]
        self._buckets = [first.absorb(second) for first, second in zip(earlier, later, strict=True)]
        self._stride *= 2
