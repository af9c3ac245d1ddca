"""Consistency: the student's prediction follows the teacher's."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.objectives.views import FeatureMoments, Views


def consistency(student: Views, teacher: Views, _source: FeatureMoments | None = None, /) -> Tensor:
    """CE(student, stopgrad(teacher)), the cross-entropy against soft labels (arXiv 2405.16486, the loss).

    Its gradient in the student's logits is `p_student - p_teacher`: with equal weights and equal views it is 0
    and nothing is learned. One side must see another view (see `moase_edge.adapt.views`).
    """
    target = F.softmax(teacher.logits.detach(), dim=-1)
    return -(target * F.log_softmax(student.logits, dim=-1)).sum(dim=-1).mean()
