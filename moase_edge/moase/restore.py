"""Stochastic restore: now and then a weight returns to its source value (CoTTA, arXiv 2203.13591)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def restore_at_random(
    weights: Sequence[Tensor], source: Sequence[Tensor], probability: float, generator: torch.Generator
) -> None:
    """Set each single weight back to its source value with the given probability, in place.

    Args:
        weights, source: tensors of equal shapes on the generator's device.
        probability: 0..1; CoTTA and the authors of MoASE use 0.01 per step.
    """
    for weight, original in zip(weights, source, strict=True):
        chosen = torch.rand(weight.shape, generator=generator, device=weight.device) < probability
        weight.copy_(torch.where(chosen, original, weight))
