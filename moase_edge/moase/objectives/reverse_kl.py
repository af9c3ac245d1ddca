"""Reverse KL: the student gives no probability to what the teacher rules out."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.objectives.views import FeatureMoments, Views

TEMPERATURE = 2.0


def reverse_kl(student: Views, teacher: Views, _source: FeatureMoments | None = None, /) -> Tensor:
    """T^2 * KL(student || stopgrad(teacher)), softmax at temperature T = 2, in nats (MoASE++, arXiv 2605.17743).

    T^2 keeps the gradient's size what it is without a temperature. As with `consistency`, value and gradient are 0
    where both agree.
    """
    log_p = F.log_softmax(student.logits / TEMPERATURE, dim=-1)
    log_q = F.log_softmax(teacher.logits.detach() / TEMPERATURE, dim=-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=-1)
    return TEMPERATURE**2 * divergence.mean()
