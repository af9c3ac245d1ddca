"""The `official` preset: what the authors' code computes, bug for bug (RoyZry98/MoASE-Pytorch @ 650464a).

    a    softmax(x W_a + b_a)                      per token and expert, then averaged over the *batch* and tokens:
                                                   an answer depends on its batch-mates
    r    softmax(topmask(x) W_r + b_r)             from the *stronger* half of the channels, by value
    k_e  int(R * (v_e + 0.1 * mean a_e))           used only to cut an integer: the gate gets no gradient
    h_e  relu(x D_e + d_e), the k_e smallest kept  for *all* experts, and straight after a ReLU: mostly zeros
    y    sum_e r_e * 0.8 * (h_e U_e + u_e)

Kept for comparison. `int(...)` of a computed value synchronises the device and does not export.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from moase_edge.moase.adapter import MoaseAdapter

OUTPUT_SCALE = 0.8
ROUTER_SHARE = 0.5


def official_forward(adapter: MoaseAdapter, x: Tensor) -> Tensor:
    """(B, N, C) -> (B, N, C); samples of a batch influence each other."""
    routed_by = x if "dag" in adapter.without else keep_topk(x, int(ROUTER_SHARE * x.shape[-1]), largest=True)
    route = F.softmax(adapter.dag(routed_by), dim=-1)
    counts = kept_counts(adapter, x)
    y = torch.zeros_like(x)
    for e, count in enumerate(counts):
        down_weight, down_bias, up_weight, up_bias = adapter.experts.tensors_of(e)
        hidden = keep_topk(F.relu(F.linear(x, down_weight, down_bias)), count, largest=False)
        y = y + route[..., e : e + 1] * OUTPUT_SCALE * (hidden @ up_weight + up_bias)
    return y


def kept_counts(adapter: MoaseAdapter, x: Tensor) -> list[int]:
    """k_e of every expert, one for the whole batch; at most R, which only an eta far above the authors' passes."""
    if "sdd" in adapter.without:
        return [adapter.experts.rank] * adapter.experts.count
    with torch.no_grad():
        mean = F.softmax(adapter.asg(x), dim=-1).mean(dim=(0, 1))
    moved = 0.0 if "asg" in adapter.without else adapter.eta
    shares = adapter.quantiles + moved * mean
    return [min(int(adapter.experts.rank * share), adapter.experts.rank) for share in shares.tolist()]


def keep_topk(x: Tensor, k: int, *, largest: bool) -> Tensor:
    """Keep exactly k entries of the last dimension by value, ties as `topk` breaks them; zero the rest."""
    index = x.topk(k, dim=-1, largest=largest).indices
    return x * torch.zeros_like(x).scatter_(-1, index, 1.0)
