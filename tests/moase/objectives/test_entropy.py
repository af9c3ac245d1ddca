"""Entropy, of each frame and of a batch."""

from __future__ import annotations

import math

import pytest
import torch

from moase_edge.moase.objectives.entropy import entropy, softmax_entropy
from tests.moase.objectives.answers import views

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


def test_objective_is_the_mean_over_frames_by_hand() -> None:
    logits = torch.cat([QUARTERS, torch.zeros(1, 2)])
    expected = (0.25 * math.log(4) + 0.75 * math.log(4 / 3) + math.log(2)) / 2
    assert float(entropy(views(logits), views(logits))) == pytest.approx(expected)


def test_a_step_down_its_gradient_favours_the_class_that_leads() -> None:
    logits = QUARTERS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(entropy(views(logits), views(QUARTERS)), logits)
    assert gradient[0, 1] < 0 < gradient[0, 0]
