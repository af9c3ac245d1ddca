"""The `paper` preset: the equations of arXiv 2405.16486, expert by expert.

    1  y = sum_e g_e(x) e_e(x)                     dense softmax routing, a weight per token and expert
    2  SDD over all n*d entries of a sample        K_e = floor(n*d*(q_e + eta*eps_e)), q = j/E in each half
    3  phi = softmax(W_dag SDD(x, 1/2, lowest))    the weaker half over all tokens and channels of a sample
    4  eps = g_asg(x)                              one value per sample and expert: softmax, mean over tokens

The mask is "non-differentiable", so the sparsity gate never receives a gradient. The equations leave open which
map is ranked and what activation follows; both are as in `edge` (see sdd.py), and on a single token the two
presets are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.sdd import keep_mask, keep_weaker_half

if TYPE_CHECKING:
    from moase_edge.moase.adapter import MoaseAdapter


def paper_forward(adapter: MoaseAdapter, x: Tensor) -> Tensor:
    """(B, N, C) -> (B, N, C); tokens of a sample compete, samples do not."""
    routed_by = x if "dag" in adapter.without else keep_weaker_half(x.flatten(1)).view_as(x)
    route = F.softmax(adapter.dag(routed_by), dim=-1)
    shift = sample_shift(adapter, x)
    y = torch.zeros_like(x)
    for e in range(adapter.experts.count):
        y = y + route[..., e : e + 1] * one_expert(adapter, e, x, shift[:, e])
    return y


@torch.no_grad()
def sample_shift(adapter: MoaseAdapter, x: Tensor) -> Tensor:
    """Equation 4: (B, N, C) -> (B, E), each row sums to 1; zeros where there is no gate."""
    if "asg" in adapter.without:
        return x.new_zeros(len(x), adapter.experts.count)
    return F.softmax(adapter.asg(x), dim=-1).mean(dim=1)


def one_expert(adapter: MoaseAdapter, e: int, x: Tensor, shift: Tensor) -> Tensor:
    """Equation 2 inside one bottleneck: (B, N, C), shift (B,) -> (B, N, C)."""
    down_weight, down_bias, up_weight, up_bias = adapter.experts.tensors_of(e)
    pre = F.linear(x, down_weight, down_bias)
    if "sdd" in adapter.without:
        return F.gelu(pre) @ up_weight + up_bias
    entries = pre.shape[1] * pre.shape[2]
    keep = entries * (adapter.quantiles[e] + adapter.eta * shift)
    score = pre.detach().abs().flatten(1) * adapter.rank_signs[e]
    mask = keep_mask(score, keep).view_as(pre)
    return (mask * F.gelu(pre)) @ up_weight + up_bias
