"""The watch: guard, referee and snapshots together, over whatever has a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.guard import Guard, GuardState
from moase_edge.adapt.referee import Action, LastGood, Referee, RefereeState

S = TypeVar("S")


@dataclass(frozen=True, slots=True, eq=False)
class WatchState(Generic[S]):
    """All that a watch remembers.

    Attributes:
        good, latest: snapshots of what is watched; None for its source state.
        why: the latest alarm, in words.
    """

    guard: GuardState
    referee: RefereeState
    good: S | None
    latest: S | None
    why: str | None


class Watch(Generic[S]):
    """Rolls back what was learned where the guard alarms; has the frozen model answer where that does not help.

    Args:
        guard, referee: in their first state.
        snapshot, restore: of what is watched, which must be at its source state now.

    Attributes:
        why: the latest alarm, in words.
    """

    def __init__(
        self, guard: Guard, referee: Referee, snapshot: Callable[[], S], restore: Callable[[S], None]
    ) -> None:
        self._guard, self._referee = guard, referee
        self._snapshot, self._restore = snapshot, restore
        self._kept = LastGood(snapshot())
        self.why: str | None = None

    @property
    def trusts(self) -> bool:
        """Whether the adapted model answers and learns."""
        return self._referee.answers_adapted

    @property
    def rollbacks(self) -> int:
        """How often what was learned was set back, to a snapshot or to the source."""
        counts = self._referee.counts()
        return counts["rollbacks"] + counts["freezes"]

    def observe(
        self,
        adapted: NDArray[np.floating],
        frozen: NDArray[np.floating],
        new: NDArray[np.bool_],
    ) -> None:
        """Compare answers (n, K) of the same frames, before any is replaced; `new` (n,): with new content."""
        for ours, theirs, is_new in zip(adapted, frozen, new, strict=True):
            self._guard.observe(ours, theirs, new_content=bool(is_new))

    def tell_distance(self, distance: float) -> None:
        """How far the learned weights are from the source."""
        self._guard.tell_distance(distance)

    def judge(self, frames: int) -> Action:
        """Act on what was observed; `frames` with new content were compared since. Returns what was done."""
        alarm = self._guard.check() if self.trusts else None
        self.why = alarm or self.why
        decision = self._referee.step(alarm, frames=frames)
        if decision.take_snapshot:
            self._kept.take(self._snapshot())
        if decision.action is Action.ROLL_BACK:
            self._restore(self._kept.rolled_back())
        elif decision.action is not Action.KEEP:
            self._restore(self._kept.back_to_source())
        if decision.action is not Action.KEEP:
            self._guard.reset()
        return decision.action

    def counts(self) -> dict[str, int]:
        """What was done, for reports."""
        return self._referee.counts()

    def state(self) -> WatchState[S]:
        """A copy of all that was seen and decided, with the snapshots."""
        good, latest = self._kept.held()
        return WatchState(self._guard.snapshot(), self._referee.snapshot(), good, latest, self.why)

    def load(self, state: WatchState[S]) -> None:
        """Go back to a state, bit for bit; what is watched is left alone."""
        self._guard.restore(state.guard)
        self._referee.restore(state.referee)
        self._kept.hold(state.good, state.latest)
        self.why = state.why

    def reset(self) -> None:
        """Forget all; what is watched, which is left alone, must be at its source state."""
        self._guard.reset()
        self._referee.reset()
        self._kept.back_to_source()
        self.why = None
