"""The reverse KL objective."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.moase.objectives import Views, reverse_kl
from tests.moase.adapters import draw


def views(logits: Tensor) -> Views:
    return Views(logits=logits, features=logits)


def test_divergence_of_the_softened_student_by_hand() -> None:
    # Logits are twice the logarithms, so that T = 2 leaves student (1/2, 1/2) and teacher (3/4, 1/4).
    student = 2 * torch.tensor([[1.0, 1.0]]).log()
    teacher = 2 * torch.tensor([[3.0, 1.0]]).log()
    expected = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert float(reverse_kl(views(student), views(teacher))) == pytest.approx(expected)


def test_it_is_the_student_who_is_averaged_over() -> None:
    # The other way round it would be 4 * (3/4 log 3/2 + 1/4 log 1/2) = 0.52.
    student = 2 * torch.tensor([[1.0, 1.0]]).log()
    teacher = 2 * torch.tensor([[3.0, 1.0]]).log()
    assert float(reverse_kl(views(student), views(teacher))) == pytest.approx(0.5754, abs=1e-4)


def test_it_is_never_negative_and_zero_with_no_gradient_where_both_agree() -> None:
    student, teacher = (5 * draw(4, 6)).requires_grad_(), 5 * draw(4, 6, seed=1)
    assert float(reverse_kl(views(student), views(teacher)).detach()) > 0.1
    same = reverse_kl(views(student), views(student.detach()))
    (gradient,) = torch.autograd.grad(same, student)
    assert abs(float(same.detach())) < 1e-6
    assert float(gradient.abs().max()) < 1e-6


def test_teacher_gets_no_gradient() -> None:
    student, teacher = draw(2, 3).requires_grad_(), draw(2, 3, seed=1).requires_grad_()
    loss = reverse_kl(views(student), views(teacher))
    assert torch.autograd.grad(loss, [student, teacher], allow_unused=True)[1] is None


def test_confident_disagreement_stays_finite() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert float(reverse_kl(views(student), views(teacher))) == pytest.approx(4e4)
