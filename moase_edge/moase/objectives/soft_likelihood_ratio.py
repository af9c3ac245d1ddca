"""Soft likelihood ratio: the student becomes surer, above all on frames that are certain and unlike the rest."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moase_edge.moase.objectives.entropy import softmax_entropy
from moase_edge.moase.objectives.views import FeatureMoments, Views

# ROID's (arXiv 2306.00650; mariodoebler/test-time-adaptation, methods/roid.py and conf.py).
TEMPERATURE = 1 / 3
CLIP = 0.99
EPS = 1e-5


class SampleWeights(NamedTuple):
    """(B,) each: weights, and which frames are kept at all."""

    weights: Tensor
    kept: Tensor


def soft_likelihood_ratio(student: Views, _teacher: Views, _source: FeatureMoments | None = None, /) -> Tensor:
    """Mean over the batch of ROID's loss, each frame weighted by certainty and diversity (arXiv 2306.00650).

    ROID measures diversity from a running mean of the answers; here it is the mean of the batch, so that the loss
    keeps no state. A batch of one, or of equal frames, is not weighted.
    """
    logits = student.logits.detach()
    weights, kept = sample_weights(logits, F.softmax(logits, dim=-1).mean(dim=0), TEMPERATURE)
    return (likelihood_ratios(student.logits, clip=CLIP, eps=EPS) * weights * kept).mean()


def likelihood_ratios(logits: Tensor, *, clip: float, eps: float) -> Tensor:
    """-sum_k p_k log(p_k / (1 - p_k)): (B, K) -> (B,) (ROID, arXiv 2306.00650).

    Args:
        clip: probabilities above it count as this, and get no gradient.
        eps: keeps the logarithm finite.
    """
    probabilities = F.softmax(logits, dim=-1).clamp(max=clip)
    return -(probabilities * torch.log(probabilities / (1 - probabilities) + eps)).sum(dim=-1)


def sample_weights(logits: Tensor, mean_answer: Tensor, temperature: float) -> SampleWeights:
    """exp(diversity * certainty / temperature), both rescaled to 0..1 over the batch.

    Frames that are less diverse than the mean of the batch are dropped.

    Args:
        logits: (B, K).
        mean_answer: (K,).
    """
    answers = F.softmax(logits, dim=-1)
    diversity = rescaled(1 - F.cosine_similarity(mean_answer[None], answers, dim=1))
    certainty = rescaled(-softmax_entropy(logits))
    return SampleWeights(torch.exp(diversity * certainty / temperature), diversity >= diversity.mean())


def rescaled(values: Tensor) -> Tensor:
    """To 0..1; all 0 where the values are equal, which turns every weight to NaN in the authors' code."""
    span = values.max() - values.min()
    return (values - values.min()) / span if float(span) > 0 else torch.zeros_like(values)
