"""Mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from moase_edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of repeated runs in short.

    Attributes:
        mean: arithmetic mean.
        deviation: sample standard deviation, with n - 1; NaN for a single run.
        count: how many runs, n.
    """

    mean: float
    deviation: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation; NaN where any value is not finite.

    Raises:
        ConfigError: no value.
    """
    if not values:
        raise ConfigError("there is no value to average: expected one a seed; run at least one seed")
    if not all(math.isfinite(value) for value in values):
        return Spread(math.nan, math.nan, len(values))
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, len(values))
