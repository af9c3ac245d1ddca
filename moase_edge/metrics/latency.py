"""Latency percentiles in fixed memory.

A camera runs for days, so durations are counted in bins instead of kept. No outlier is ever trimmed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moase_edge.errors import ConfigError

TOTAL_STAGE = "total"
"""The stage that the shares of all others refer to: one whole frame."""

_LOWEST_MS = 1e-3
_HIGHEST_MS = 1e6
_RATIO = 1.005
_LOG_RATIO = math.log(_RATIO)
_BINS = math.ceil(math.log(_HIGHEST_MS / _LOWEST_MS) / _LOG_RATIO)
_PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """What a histogram holds, in milliseconds.

    `count`, `min_ms`, `mean_ms`, `max_ms` and `total_ms` are exact to floating point. A percentile p is the
    nearest rank: the smallest duration that at least p % of all durations do not exceed. It is read from a
    bin 0.5 % wide, so it lies within 0.25 % of that duration, and never outside `min_ms` .. `max_ms`.
    With `count` 0, `total_ms` is 0 and the rest is NaN.
    """

    count: int
    min_ms: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    total_ms: float


_EMPTY = LatencySummary(0, *(math.nan,) * 7, total_ms=0.0)


class LatencyHistogram:
    """Durations counted in 4156 logarithmic bins from 1 us to 1000 s, about 33 kB whatever the count.

    Durations below 1 us share one bin, and so do those above 1000 s, whose percentiles fall on the maximum.
    Not thread-safe: one writer, which also asks for the summary.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS + 2, dtype=np.int64)
        self._count = 0
        self._sum_ms = 0.0
        self._rounding_ms = 0.0
        self._min_ms = math.inf
        self._max_ms = 0.0

    @property
    def count(self) -> int:
        """How many durations were added."""
        return self._count

    @property
    def total_ms(self) -> float:
        """Sum of all durations."""
        return self._sum_ms + self._rounding_ms

    def add(self, ms: float) -> None:
        """Count one duration of `ms` milliseconds.

        Raises:
            ConfigError: `ms` is negative, NaN or infinite.
        """
        if not 0.0 <= ms < math.inf:
            raise ConfigError(
                f"a duration of {ms} ms cannot be counted: expected a finite number from 0; "
                "take both clock readings from time.perf_counter_ns()"
            )
        self._counts[_bin_of(ms)] += 1
        self._count += 1
        self._min_ms = min(self._min_ms, ms)
        self._max_ms = max(self._max_ms, ms)
        self._accumulate(ms)

    def summary(self) -> LatencySummary:
        """Count, extremes, mean and percentiles of everything added so far."""
        if self._count == 0:
            return _EMPTY
        ranks = [-(-percent * self._count // 100) for percent in _PERCENTS]
        bins = np.searchsorted(np.cumsum(self._counts), ranks)
        p50, p90, p95, p99 = (self._within(_middle_ms(int(index))) for index in bins)
        mean = self._within(self.total_ms / self._count)
        return LatencySummary(self._count, self._min_ms, mean, p50, p90, p95, p99, self._max_ms, self.total_ms)

    def _accumulate(self, ms: float) -> None:
        """Neumaier's compensated sum: millions of small durations keep their last digits."""
        total = self._sum_ms + ms
        if self._sum_ms >= ms:
            self._rounding_ms += (self._sum_ms - total) + ms
        else:
            self._rounding_ms += (ms - total) + self._sum_ms
        self._sum_ms = total

    def _within(self, ms: float) -> float:
        return min(max(ms, self._min_ms), self._max_ms)


class LatencyProfile:
    """Latency of each stage of a frame, in the order in which the stages were first seen."""

    def __init__(self) -> None:
        self._stages: dict[str, LatencyHistogram] = {}

    def add(self, stage: str, ms: float) -> None:
        """Count `ms` milliseconds for `stage`, a name that the caller chooses; `total` is the whole frame.

        Raises:
            ConfigError: `ms` is negative, NaN or infinite.
        """
        histogram = self._stages.get(stage) or LatencyHistogram()
        histogram.add(ms)
        self._stages[stage] = histogram

    def summaries(self) -> dict[str, LatencySummary]:
        """Summary by stage."""
        return {stage: histogram.summary() for stage, histogram in self._stages.items()}

    def share(self, stage: str) -> float:
        """Time of `stage` divided by the time of `total`, 0 .. 1; above 1 for a stage that runs beside it.

        NaN while `total` has no time.

        Raises:
            ConfigError: no such stage was added.
        """
        if stage not in self._stages:
            known = ", ".join(self._stages) or "none"
            raise ConfigError(f"no stage {stage!r} was timed; known stages: {known}")
        total = self._stages.get(TOTAL_STAGE)
        if total is None or total.total_ms == 0.0:
            return math.nan
        return self._stages[stage].total_ms / total.total_ms

    def shares(self) -> dict[str, float]:
        """`share` of every stage."""
        return {stage: self.share(stage) for stage in self._stages}


def _bin_of(ms: float) -> int:
    """0 below the range, 1 .. _BINS inside it, _BINS + 1 above it."""
    if ms < _LOWEST_MS:
        return 0
    if ms > _HIGHEST_MS:
        return _BINS + 1
    return min(1 + int(math.log(ms / _LOWEST_MS) / _LOG_RATIO), _BINS)


def _middle_ms(index: int) -> float:
    """Geometric middle of a bin; the open ends rely on the histogram's own extremes to bound them."""
    if index == 0:
        return _LOWEST_MS
    if index > _BINS:
        return math.inf
    return _LOWEST_MS * math.exp(_LOG_RATIO * (index - 0.5))
