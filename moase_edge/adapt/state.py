"""Everything that adaptation has learned, as one object."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class AdaptedState:
    """A copy of a learner's state; later steps do not change it.

    Attributes:
        student, teacher: trained parameters, in the learner's order.
        optimizer: the optimiser's state dict.
        generator: state of the random generator of views and restore.
        updates: steps taken.
    """

    student: list[Tensor]
    teacher: list[Tensor]
    optimizer: dict[str, Any]
    generator: Tensor
    updates: int


def copy_optimizer_state(state: dict[str, Any]) -> dict[str, Any]:
    """A deep copy, so that neither side's later steps reach the other."""
    return copy.deepcopy(state)
