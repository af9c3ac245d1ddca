"""Losses of a batch of logits, one value a frame."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.objectives.entropy import softmax_entropy

__all__ = ["softmax_entropy", "symmetric_cross_entropy"]


def symmetric_cross_entropy(first: Tensor, second: Tensor) -> Tensor:
    """Half the cross-entropy each way: (B, K), (B, K) -> (B,).

    Of CoTTA's code for ImageNet (arXiv 2203.13591) and of ROID (arXiv 2306.00650).
    """
    forth = F.softmax(second, dim=-1) * F.log_softmax(first, dim=-1)
    back = F.softmax(first, dim=-1) * F.log_softmax(second, dim=-1)
    return -0.5 * (forth + back).sum(dim=-1)
