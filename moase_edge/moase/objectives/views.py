"""What an objective is given of a network and of its source domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Views:
    """One network's answer to one batch.

    Attributes:
        logits: (B, K); the pooled features where the model has no head.
        features: (B, C), what the head reads.
        pooled: (B, H, C), what each of H heads reads; None where nobody asked for it.
    """

    logits: Tensor
    features: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMoments:
    """Of the source domain's features, by channel: mean and population standard deviation, both (C,)."""

    mean: Tensor
    std: Tensor


class Objective(Protocol):
    """A loss of the student's answer, given the teacher's answer to the same frames (detached)."""

    def __call__(self, student: Views, teacher: Views, source: FeatureMoments | None, /) -> Tensor:
        """A scalar, averaged over the batch. `source` may be None for those that are not in NEEDS_SOURCE."""
        ...


def without_source(name: str) -> str:
    """What is said of an objective that needs the source domain's moments where there are none."""
    return (
        f"the objective {name} needs the mean and spread of source features, and there are none. Record them "
        "with `moase-edge export --source-data` or `moase-edge calibrate --source`, or choose another objective."
    )
