"""Entropy: the student becomes surer of what it says."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.objectives.views import FeatureMoments, Views


def softmax_entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax: (B, K) -> (B,), nats, 0..ln K."""
    return -(F.softmax(logits, dim=-1) * F.log_softmax(logits, dim=-1)).sum(dim=-1)


def entropy(student: Views, _teacher: Views, _source: FeatureMoments | None = None, /) -> Tensor:
    """Mean Shannon entropy of the student's answers (TENT, arXiv 2006.10726).

    Nothing in it speaks against one class for every frame: alone and unguarded it ends there.
    """
    return softmax_entropy(student.logits).mean()
