"""Spatial Differentiate Dropout (SDD): keep the strongest or the weakest activations, drop the rest.

Source: arXiv 2405.16486, the SDD equation. The paper ranks "activations" and takes low ones to be weak. Which
map is ranked matters: straight after a ReLU half of the units are 0, the weakest quarter holds nothing else,
and an expert that keeps it is dead. On a signed map the lowest *values* are strong negative responses, the
opposite of weak. So `edge` and `paper` rank the **magnitude of the pre-activation**, |x D + d|: low then means
that the unit hardly responds to this input, whatever its sign, and such units still carry a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quantiles(experts: int, *, share: float = 0.5, device: torch.device | None = None) -> Tensor:
    """Share of entries that each expert keeps before the sparsity gate: j/E for j = 1..E/2, once a half.

    Args:
        share: what the last of each half keeps; the published 1/2 gives j/E.

    Returns:
        (E,) float32: for E = 4, (1/4, 1/2, 1/4, 1/2).
    """
    half = torch.arange(1, experts // 2 + 1, device=device, dtype=torch.float32) * (2 * share) / experts
    return torch.cat([half, half])


def rank_signs(experts: int, *, device: torch.device | None = None) -> Tensor:
    """+1 for the domain-agnostic half (keeps the strongest), -1 for the domain-specific half (weakest).

    Multiplied into a strength, it turns "the K weakest" into "the K largest".

    Returns:
        (E,) float32.
    """
    sign = torch.ones(experts, device=device)
    sign[experts // 2 :] = -1
    return sign


def keep_mask(score: Tensor, keep: Tensor) -> Tensor:
    """Mask of the `keep` largest scores along the last dimension, without a synchronisation.

    The scores are sorted once and the threshold is gathered at an index that is a tensor, so the count may be
    computed from data, differ per row, and be exported. Equal scores at the threshold are all kept, as the
    equation's "at or above the K-th largest" says.

    Args:
        score: (..., R), any real values.
        keep: (...), how many to keep; real, rounded down, then clamped to 1..R.

    Returns:
        (..., R), 1 where kept and 0 elsewhere, in the dtype of `score`. Its forward value is exact; its gradient
        reaches `keep` alone (straight-through): the threshold falls with `keep` by the mean gap between ranks, and
        the step is taken as a sigmoid whose width is the spread of the scores. Both are smooth in the scores, so
        the gradient does not hang on the one gap at the threshold.
    """
    ranked = score.detach().sort(dim=-1, descending=True).values
    size = score.shape[-1]
    index = keep.detach().floor().clamp(1, size).long().unsqueeze(-1)
    threshold = ranked.gather(-1, index - 1)
    hard = (score >= threshold).to(score.dtype)
    if not (torch.is_grad_enabled() and keep.requires_grad):
        return hard
    mean_gap = (ranked[..., :1] - ranked[..., -1:]) / max(size - 1, 1)
    width = ranked.std(dim=-1, keepdim=True, correction=0) + torch.finfo(score.dtype).eps
    soft_threshold = threshold - (keep.unsqueeze(-1) - index) * mean_gap
    soft = torch.sigmoid((score.detach() - soft_threshold) / width)
    return hard + (soft - soft.detach())


def keep_weaker_half(x: Tensor) -> Tensor:
    """SDD(x, 1/2, lowest) along the last dimension: entries of the weaker half stay, the others become 0.

    Args:
        x: (..., C), at least two channels.

    Returns:
        (..., C).
    """
    strength = x.detach().abs()
    threshold = strength.topk(x.shape[-1] // 2, dim=-1, largest=False).values.amax(dim=-1, keepdim=True)
    return x * (strength <= threshold)
