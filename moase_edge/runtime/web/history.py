"""What the watching thread keeps of a run: the last few hundred batches, and durations by stage."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import accumulate

from moase_edge.runtime.record import STAGES
from moase_edge.runtime.web.live import Moment

KEPT = 600
BOUNDS_MS = (1, 2, 5, 10, 20, 33, 50, 66, 100, 200, 500, 1000, 2000, 5000)


class Durations:
    """A histogram with the bounds `BOUNDS_MS`."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, ms: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_MS, ms)] += 1
        self.sum_ms += ms

    def cumulative(self) -> list[int]:
        """How many did not exceed each bound; the last one counts all."""
        return list(accumulate(self._counts))


class History:
    """Filled and read by the watching thread alone.

    Attributes:
        batches: how many there were.
        durations: by stage.
        frozen_since_s: Unix time of the first of the frozen answers that the latest one ends; None where the
            latest is adapted, or there is none.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.durations = {stage: Durations() for stage in STAGES}
        self.frozen_since_s: float | None = None
        self._kept: deque[tuple[int, Moment]] = deque(maxlen=KEPT)
        self._drift: dict[str, float] = {}

    def add(self, moment: Moment) -> None:
        """One more batch."""
        self.batches += 1
        self._kept.append((self.batches, moment))
        for stage, ms in moment.timings_ms.items():
            if stage in self.durations:
                self.durations[stage].add(ms)
        if moment.adapted:
            self.frozen_since_s = None
        elif self.frozen_since_s is None:
            self.frozen_since_s = moment.timestamp_s
        if moment.update is not None:
            self._drift = {
                name: moment.update[name] for name in ("domain", "feature_shift") if name in moment.update
            }

    @property
    def drift(self) -> dict[str, float]:
        """What the latest update said of domain and shift; empty before one."""
        return self._drift

    def since(self, number: int, *, most: int = KEPT) -> list[tuple[int, Moment]]:
        """The latest `most` batches after this number, with their numbers, in order."""
        found: list[tuple[int, Moment]] = []
        for kept in reversed(self._kept):
            if kept[0] <= number or len(found) == most:
                break
            found.append(kept)
        return found[::-1]
