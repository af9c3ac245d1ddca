"""What an objective is given of a network."""

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
    """

    logits: Tensor
    features: Tensor


class Objective(Protocol):
    """A loss of the student's answer, given the teacher's answer to the same frames (detached)."""

    def __call__(self, student: Views, teacher: Views) -> Tensor:
        """A scalar, averaged over the batch."""
        ...
