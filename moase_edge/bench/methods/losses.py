"""Losses of a batch of logits, one value a frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def softmax_entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax: (B, K) -> (B,), nats, 0..ln K."""
    return -(F.softmax(logits, dim=-1) * F.log_softmax(logits, dim=-1)).sum(dim=-1)


def symmetric_cross_entropy(first: Tensor, second: Tensor) -> Tensor:
    """Half the cross-entropy each way: (B, K), (B, K) -> (B,).

    Of CoTTA's code for ImageNet (arXiv 2203.13591) and of ROID (arXiv 2306.00650).
    """
    forth = F.softmax(second, dim=-1) * F.log_softmax(first, dim=-1)
    back = F.softmax(first, dim=-1) * F.log_softmax(second, dim=-1)
    return -0.5 * (forth + back).sum(dim=-1)


def soft_likelihood_ratio(logits: Tensor, *, clip: float, eps: float) -> Tensor:
    """-sum_k p_k log(p_k / (1 - p_k)): (B, K) -> (B,) (ROID, arXiv 2306.00650).

    Args:
        clip: probabilities above it count as this, and get no gradient.
        eps: keeps the logarithm finite.
    """
    probabilities = F.softmax(logits, dim=-1).clamp(max=clip)
    return -(probabilities * torch.log(probabilities / (1 - probabilities) + eps)).sum(dim=-1)
