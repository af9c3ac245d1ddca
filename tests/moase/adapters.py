"""Adapters and inputs for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.adapter import MoaseAdapter


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Seeded standard normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def adapter_at(
    preset: str,
    channels: int,
    *,
    seed: int = 0,
    experts: int = 4,
    rank: int = 48,
    eta: float = 0.1,
    std: float = 0.1,
    **others: Any,
) -> MoaseAdapter:
    """An adapter at a seeded state away from its start: every weight is moved by noise."""
    generator = torch.Generator().manual_seed(seed)
    adapter = MoaseAdapter(
        channels, experts=experts, rank=rank, eta=eta, preset=preset, generator=generator, **others
    )
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.add_(std * torch.randn(weight.shape, generator=generator))
    return adapter


def gradients(adapter: MoaseAdapter, x: Tensor) -> dict[str, Tensor]:
    """Gradient of every weight for a loss that weighs all outputs differently; zero where there is none."""
    adapter.zero_grad()
    y = adapter(x)
    (y * draw(*y.shape, seed=99)).sum().backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in adapter.named_parameters()
    }


def zero_all(adapter: MoaseAdapter) -> MoaseAdapter:
    """All weights zero, for a test that fills in its own."""
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.zero_()
    return adapter


def weaker_half(x: Tensor) -> Tensor:
    """A row (C,) with only its C/2 smallest magnitudes, found by a full sort."""
    order = x.abs().argsort()
    kept = torch.zeros_like(x)
    kept[order[: len(x) // 2]] = 1
    return x * kept


def expert_by_expert(
    adapter: MoaseAdapter, x: Tensor, mask_of: Callable[[int, Tensor], Tensor], route: Tensor
) -> Tensor:
    """Equation 1 in a plain loop: `sum_e g_e * (mask_e * gelu(x D_e + d_e)) U_e + u_e`."""
    bank = adapter.experts
    y = torch.zeros_like(x)
    for e in range(bank.count):
        pre = x @ bank.down_weight[e].T + bank.down_bias[e]
        hidden = mask_of(e, pre) * F.gelu(pre)
        y = y + route[..., e, None] * (hidden @ bank.up_weight[e] + bank.up_bias[e])
    return y
