"""The soft likelihood ratio, its weights, and the loss that they make."""

from __future__ import annotations

import math

import pytest
import torch

from moase_edge.moase.objectives import Objective, entropy
from moase_edge.moase.objectives.soft_likelihood_ratio import (
    likelihood_ratios,
    rescaled,
    sample_weights,
    soft_likelihood_ratio,
)
from tests.moase.adapters import draw
from tests.moase.objectives.answers import views

QUARTERS = torch.tensor([[0.0, math.log(3)]])  # probabilities 1/4 and 3/4
UNIFORM = torch.full((2,), 0.5)


def test_soft_likelihood_ratio_of_quarters() -> None:
    expected = -(0.25 * math.log(1 / 3) + 0.75 * math.log(3))
    assert likelihood_ratios(QUARTERS, clip=0.99, eps=0.0).tolist() == pytest.approx([expected])


def test_soft_likelihood_ratio_clips_an_answer_beyond_doubt() -> None:
    logits = torch.tensor([[0.0, -1e4]])
    expected = -(0.99 * math.log(0.99 / 0.01 + 1e-5) + 0.0 * math.log(1e-5))
    assert likelihood_ratios(logits, clip=0.99, eps=1e-5).tolist() == pytest.approx([expected], rel=1e-5)


def test_rescaled_values_span_zero_to_one() -> None:
    assert rescaled(torch.tensor([2.0, 6.0, 3.0])).tolist() == [0.0, 1.0, 0.25]


def test_equal_values_are_rescaled_to_zero_rather_than_to_nan() -> None:
    assert rescaled(torch.tensor([5.0])).tolist() == [0.0]
    assert rescaled(torch.tensor([5.0, 5.0])).tolist() == [0.0, 0.0]


def test_weights_of_three_frames_by_hand() -> None:
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.75, 0.25]])
    cosine = [float((row * 0.5).sum() / (row.norm() * 0.5 * 2**0.5)) for row in p]
    entropy = [float(-(row * row.log()).sum()) for row in p]
    diversity = (1 - cosine[2]) / (1 - cosine[1])  # of the third, between the first's 0 and the second's 1
    certainty = (entropy[0] - entropy[2]) / (entropy[0] - entropy[1])
    weights, kept = sample_weights(p.log(), UNIFORM, temperature=1 / 3)
    expected = [1.0, math.exp(3), math.exp(3 * diversity * certainty)]
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)
    assert kept.tolist() == [False, True, diversity >= (1 + diversity) / 3]


def test_frames_like_the_mean_answer_are_dropped() -> None:
    p = torch.tensor([[0.99, 0.01], [0.95, 0.05], [0.02, 0.98]])
    _, kept = sample_weights(p.log(), torch.tensor([0.9, 0.1]), temperature=1 / 3)
    assert kept.tolist() == [False, False, True]


def test_equal_frames_are_all_kept_with_equal_weight() -> None:
    weights, kept = sample_weights(torch.zeros(3, 2), UNIFORM, temperature=1 / 3)
    assert weights.tolist() == [1.0] * 3
    assert kept.tolist() == [True] * 3


def test_loss_of_three_frames_by_hand() -> None:
    # Mean answer 0.6, 0.4. Two frames are near it and dropped; the third is the most diverse and the most certain.
    p = torch.tensor([[0.75, 0.25], [0.85, 0.15], [0.2, 0.8]])
    ratios = [-(a * math.log(a / b + 1e-5) + b * math.log(b / a + 1e-5)) for a, b in p.tolist()]
    mean = torch.tensor([0.6, 0.4])
    cosine = [float(row @ mean / (row.norm() * mean.norm())) for row in p]
    entropies = [float(-(row * row.log()).sum()) for row in p]
    assert cosine[2] < cosine[1] < cosine[0]
    certainty = (max(entropies) - entropies[2]) / (max(entropies) - min(entropies))
    expected = ratios[2] * math.exp(3 * certainty) / 3
    loss = soft_likelihood_ratio(views(p.log()), views(torch.zeros(3, 2)))
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_a_single_frame_is_not_weighted() -> None:
    loss = soft_likelihood_ratio(views(QUARTERS), views(QUARTERS))
    assert float(loss) == pytest.approx(float(likelihood_ratios(QUARTERS, clip=0.99, eps=1e-5)))


def test_weights_pass_no_gradient() -> None:
    logits = draw(6, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(soft_likelihood_ratio(views(logits), views(draw(6, 4))), logits)
    weights, kept = sample_weights(logits.detach(), logits.detach().softmax(-1).mean(0), 1 / 3)
    held = (likelihood_ratios(logits, clip=0.99, eps=1e-5) * weights * kept).sum() / 6
    torch.testing.assert_close(gradient, torch.autograd.grad(held, logits)[0])
    assert not gradient[~kept].any()
    assert gradient[kept].abs().min() > 0


def slope(objective: Objective) -> float:
    """Norm of the gradient at an answer of 98 %."""
    logits = torch.tensor([[0.0, 4.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(objective(views(logits), views(logits.detach()), None), logits)
    return float(gradient.norm())


def test_confident_frames_still_teach_where_entropy_has_all_but_no_gradient() -> None:
    assert slope(soft_likelihood_ratio) > 5 * slope(entropy)
