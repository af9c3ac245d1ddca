"""A reservoir of features: rows of taps that were learned from, to be learned from again beside new ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moase_edge.adapt.sidecar import Taps


@dataclass(frozen=True, slots=True, eq=False)
class ReservoirState:
    """A copy of what a reservoir holds, in the order of its rows.

    Attributes:
        taps: (n, P, C) each.
        predicted: (n,) int64 classes.
        uncertainty: (n,) float64.
        time: (n,) int64.
    """

    taps: Taps
    predicted: Tensor
    uncertainty: Tensor
    time: Tensor


class Reservoir:
    """Holds up to `capacity` rows of taps, balanced over predicted classes and over time.

    After the memory bank of RoTTA (arXiv 2303.13899, category-balanced sampling with timeliness and uncertainty),
    without its quota of capacity / K a class, which is less than one row for a thousand classes. While there is
    room, a row is taken. Once full, a row goes for each that comes:

    - a row of a class that is held less often than the largest replaces the worst row of the largest classes;
    - a row of a largest class replaces the worst row of its own, unless it is worse itself.

    The worst has the highest `uncertainty + age / capacity`: a row that was beyond doubt goes, `capacity` rows
    later, before one that was nothing but doubt and is new. Of equals, the first in memory goes. Only `sample`
    draws at random.

    Memory is taken once, `capacity * tokens * channels * 2` values, on the device given; what is known of the rows
    is on the CPU.

    Args:
        capacity: rows, at least 1.
        tokens, channels: P and C of the taps.
    """

    def __init__(self, capacity: int, tokens: int, channels: int, *, device: torch.device | None = None) -> None:
        shape = (capacity, tokens, channels)
        self._taps = Taps(torch.zeros(shape, device=device), torch.zeros(shape, device=device))
        self._predicted = torch.zeros(capacity, dtype=torch.int64)
        self._uncertainty = torch.zeros(capacity, dtype=torch.float64)
        self._time = torch.zeros(capacity, dtype=torch.int64)
        self._held = 0

    def __len__(self) -> int:
        return self._held

    @property
    def capacity(self) -> int:
        """The most rows it holds."""
        return len(self._time)

    @property
    def predicted(self) -> Tensor:
        """Classes of the rows held, (n,) int64."""
        return self._predicted[: self._held]

    @property
    def time(self) -> Tensor:
        """Times of the rows held, (n,) int64."""
        return self._time[: self._held]

    @torch.no_grad()
    def add(self, taps: Taps, predicted: Tensor, uncertainty: Tensor, time: int) -> None:
        """Offer rows, one after the other; they are copied.

        Rows that repeat what was there before should not be offered: the caller knows.

        Args:
            taps: (B, P, C) each, finite.
            predicted: (B,) classes.
            uncertainty: (B,), 0 (sure) to 1.
            time: of the first row, in rows offered; each further row is one later.
        """
        rows = zip(predicted.tolist(), uncertainty.tolist(), strict=True)
        for row, (label, doubt) in enumerate(rows):
            place = self._place(label, doubt, time + row)
            if place is not None:
                self._put(place, Taps(taps.mid[row], taps.out[row]), label, doubt, time + row)

    def _place(self, predicted: int, uncertainty: float, now: int) -> int | None:
        """Where a row goes, None where it is left out."""
        if self._held < self.capacity:
            return self._held
        counts = self._predicted.bincount(minlength=predicted + 1)
        is_largest = bool(counts[predicted] == counts.max())
        offered = self._predicted == predicted if is_largest else counts[self._predicted] == counts.max()
        badness = self._uncertainty + (now - self._time) / self.capacity
        worst = int(badness.masked_fill(~offered, -torch.inf).argmax())
        return None if is_largest and uncertainty > float(badness[worst]) else worst

    def _put(self, place: int, row: Taps, predicted: int, uncertainty: float, time: int) -> None:
        for store, tap in zip(self._taps, row, strict=True):
            store[place].copy_(tap)
        self._predicted[place], self._uncertainty[place], self._time[place] = predicted, uncertainty, time
        self._held = max(self._held, place + 1)

    def sample(self, count: int, generator: torch.Generator) -> Taps | None:
        """Up to `count` different rows, each as likely as any other, copied; None where there are none."""
        if not self._held or count < 1:
            return None
        drawn = torch.randperm(self._held, generator=generator, device=generator.device)[:count]
        return Taps(*(store[drawn.to(store.device)] for store in self._taps))

    def snapshot(self) -> ReservoirState:
        """A copy of the rows held."""
        return ReservoirState(
            taps=Taps(*(store[: self._held].clone() for store in self._taps)),
            predicted=self.predicted.clone(),
            uncertainty=self._uncertainty[: self._held].clone(),
            time=self.time.clone(),
        )

    def restore(self, state: ReservoirState) -> None:
        """Go back to a snapshot of a reservoir of the same capacity, bit for bit."""
        self._held = len(state.time)
        for store, tap in zip(self._taps, state.taps, strict=True):
            store[: self._held].copy_(tap)
        self._predicted[: self._held].copy_(state.predicted)
        self._uncertainty[: self._held].copy_(state.uncertainty)
        self._time[: self._held].copy_(state.time)

    def reset(self) -> None:
        """Forget every row."""
        self._held = 0
