"""Whether an update fits in what is left of a frame's time."""

from __future__ import annotations

from collections import deque

import numpy as np

from moase_edge.errors import ConfigError

_WINDOW = 128
_QUANTILE = 0.99


class UpdateBudget:
    """Allows an update where the cost of earlier ones, a running quantile, fits in what a frame has left.

    Most updates cost next to nothing and a few cost an engine run, so it is the 99th percentile of the last 128
    that must fit. While none fits, each frame forgets the oldest cost: after 128 frames at most one update is
    tried, so that a cost that was high once, as at warm-up, does not forbid learning for ever.

    Args:
        budget_ms: milliseconds from the capture of a frame to the end of what is done with it.

    Raises:
        ConfigError: no positive number.
    """

    def __init__(self, budget_ms: float) -> None:
        if not 0 < budget_ms < float("inf"):
            raise ConfigError(f"a budget is a positive number of milliseconds; got {budget_ms:g}.")
        self.budget_ms = budget_ms
        self._costs_ms: deque[float] = deque(maxlen=_WINDOW)
        self._refused = 0

    @property
    def expected_ms(self) -> float:
        """What the next update may cost; 0 while that is unknown."""
        return float(np.quantile(self._costs_ms, _QUANTILE)) if self._costs_ms else 0.0

    def allows(self, spent_ms: float) -> bool:
        """Whether an update fits after `spent_ms` of a frame's time; asked once a frame."""
        left_ms = self.budget_ms - spent_ms
        if left_ms <= 0:
            return False
        if self.expected_ms > left_ms and self._refused < _WINDOW:
            self._refused += 1
            return False
        if self._refused == _WINDOW:
            self._costs_ms.clear()
        self._refused = 0
        return True

    def took(self, update_ms: float) -> None:
        """Tell what an update cost, in milliseconds."""
        self._costs_ms.append(update_ms)
