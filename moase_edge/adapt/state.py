"""Everything that adaptation has learned, as one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from moase_edge.adapt.drift import DriftState
from moase_edge.adapt.reservoir import ReservoirState
from moase_edge.adapt.tracker import TrackerState
from moase_edge.adapt.watch import WatchState
from moase_edge.moase.policy import PolicyState


@dataclass(frozen=True, slots=True)
class AdaptedState:
    """A copy of a learner's state; later steps do not change it.

    Attributes:
        student, teacher: trained parameters, in the learner's order.
        optimizer: what the optimiser keeps of each weight (Adam: two moments and a count), in the same order.
        generator: state of the random generator of views, restore and samples of the reservoir.
        updates: steps taken.
        reservoir: rows to learn from again; None where none are kept.
        clock: rows offered to the reservoir.
        policy: of augmented frames, where it is learned.
    """

    student: list[Tensor]
    teacher: list[Tensor]
    optimizer: dict[int, Any]
    generator: Tensor
    updates: int
    reservoir: ReservoirState | None = None
    clock: int = 0
    policy: PolicyState | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """All that was learned: by gradient, and without."""

    learner: AdaptedState | None
    tracker: TrackerState | None


@dataclass(frozen=True, slots=True, eq=False)
class LearnedState:
    """All that a run needs to go on as if it had never stopped: what was learned, and what watches over it.

    Attributes:
        compared: frames with new content that the guard saw and the referee was not told of.
        waited: the same of frames that the frozen model answered.
    """

    live: LiveState
    drift: DriftState | None
    watch: WatchState[LiveState]
    compared: int
    waited: int = 0
