"""Losses, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from moase_edge.bench.methods.losses import soft_likelihood_ratio, softmax_entropy, symmetric_cross_entropy

QUARTERS = torch.tensor([[0.0, math.log(3)]])  # probabilities 1/4 and 3/4


def test_entropy_of_a_quarter_and_three_quarters() -> None:
    expected = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    assert softmax_entropy(QUARTERS).tolist() == pytest.approx([expected])


def test_entropy_of_equal_logits_is_ln_k() -> None:
    assert softmax_entropy(torch.full((2, 7), 3.0)).tolist() == pytest.approx([math.log(7)] * 2)


def test_entropy_of_an_answer_beyond_doubt_is_zero_with_a_finite_gradient() -> None:
    logits = torch.tensor([[0.0, -1e4]], requires_grad=True)
    entropy = softmax_entropy(logits)
    (gradient,) = torch.autograd.grad(entropy.sum(), logits)
    assert entropy.tolist() == [0.0]
    assert torch.isfinite(gradient).all()


def test_symmetric_cross_entropy_is_half_of_each_way() -> None:
    halves = torch.zeros(1, 2)
    forth = math.log(2)  # of quarters against equal answers
    back = -0.5 * (math.log(0.25) + math.log(0.75))
    expected = pytest.approx([0.5 * (forth + back)])
    assert symmetric_cross_entropy(halves, QUARTERS).tolist() == expected
    assert symmetric_cross_entropy(QUARTERS, halves).tolist() == expected


def test_symmetric_cross_entropy_has_a_gradient_between_equal_answers() -> None:
    # Unlike the plain cross-entropy, whose gradient is 0 there: this is how CoTTA starts to move at all.
    student = QUARTERS.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(symmetric_cross_entropy(student, QUARTERS).sum(), student)
    assert gradient.abs().max() > 0.01


def test_soft_likelihood_ratio_of_quarters() -> None:
    expected = -(0.25 * math.log(1 / 3) + 0.75 * math.log(3))
    assert soft_likelihood_ratio(QUARTERS, clip=0.99, eps=0.0).tolist() == pytest.approx([expected])


def test_soft_likelihood_ratio_clips_an_answer_beyond_doubt() -> None:
    logits = torch.tensor([[0.0, -1e4]])
    expected = -(0.99 * math.log(0.99 / 0.01 + 1e-5) + 0.0 * math.log(1e-5))
    assert soft_likelihood_ratio(logits, clip=0.99, eps=1e-5).tolist() == pytest.approx([expected], rel=1e-5)
