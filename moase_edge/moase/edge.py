"""The `edge` preset: MoASE as it runs beside an engine.

What it keeps of the paper, and what it does otherwise:

    mixture  as published: `sum_e g_e e_e(x)`, dense softmax routing per token and expert
    SDD      per token over the R hidden units, not per sample over all tokens: an answer then depends neither on
             its batch-mates nor on tokens that the head never reads, which is what lets the engine return one
             token of 197; ranked by magnitude before the activation (see sdd.py)
    GELU     where a ReLU would zero half of the weak units
    DAG      as published, from the weaker half of the adapter's input, per token
    ASG      per token; learns, through a straight-through gradient (published, it never receives one)
    fused    the E down projections are one product, and so are the E up projections; exact
    start    an exact identity
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.sdd import keep_mask, keep_weaker_half

if TYPE_CHECKING:
    from moase_edge.moase.adapter import MoaseAdapter


def edge_forward(adapter: MoaseAdapter, x: Tensor) -> Tensor:
    """(B, N, C) -> (B, N, C); each token on its own."""
    experts = adapter.experts
    pre = experts.project_down(x)
    hidden = F.gelu(pre)
    if "sdd" not in adapter.without:
        hidden = _mask(adapter, x, pre) * hidden
    routed_by = x if "dag" in adapter.without else keep_weaker_half(x)
    return experts.project_up(hidden, F.softmax(adapter.dag(routed_by), dim=-1))


def _mask(adapter: MoaseAdapter, x: Tensor, pre: Tensor) -> Tensor:
    """Of each expert's hidden units: x (B, N, C), pre (B, N, E, R) -> (B, N, E, R)."""
    share = adapter.quantiles.expand(*pre.shape[:-1])
    if "asg" not in adapter.without:
        share = share + adapter.eta * F.softmax(adapter.asg(x), dim=-1)
    return keep_mask(pre.detach().abs() * adapter.rank_signs.unsqueeze(-1), adapter.experts.rank * share)
