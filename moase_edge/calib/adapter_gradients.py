"""Gradients in the adapters' weights, which taps are compared by, and how far two tensors differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.moase.adapter import adapters_of

_PERTURBATION_STD = 0.02
_PSEUDO_LABEL = 3


@torch.no_grad()
def perturb(sidecar: Sidecar, generator: torch.Generator) -> None:
    """Move every adapter weight away from its start, so that each part of the adapter takes part."""
    for adapter in adapters_of(sidecar):
        for weight in adapter.parameters():
            weight.add_(_PERTURBATION_STD * torch.randn(weight.shape, generator=generator))


def logits_and_gradients(module: nn.Module, forward: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One forward and backward pass; gradients of the adapters' weights in the order of the blocks."""
    weights = [weight.requires_grad_(True) for adapter in adapters_of(module) for weight in adapter.parameters()]
    logits = forward()
    label = torch.full((logits.shape[0],), _PSEUDO_LABEL % logits.shape[1])
    gradients = torch.autograd.grad(F.cross_entropy(logits, label), weights, allow_unused=True)
    pairs = zip(gradients, weights, strict=True)
    return logits.detach(), [torch.zeros_like(w) if g is None else g for g, w in pairs]


def deviation(found: Tensor | NDArray[np.float32], expected: Tensor) -> float:
    """Euclidean norm of the difference over that of `expected`; of the difference alone where that is zero."""
    reference = expected.detach().double()
    difference = torch.as_tensor(found).detach().double() - reference
    return float(difference.norm() / (reference.norm() or 1.0))
