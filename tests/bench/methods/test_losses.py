"""Losses, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from moase_edge.bench.methods.losses import symmetric_cross_entropy

QUARTERS = torch.tensor([[0.0, math.log(3)]])  # probabilities 1/4 and 3/4


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
