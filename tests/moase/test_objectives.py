"""What an update minimises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.moase.objectives import OBJECTIVES, Views, consistency
from tests.moase.adapters import draw


def views(logits: Tensor) -> Views:
    return Views(logits=logits, features=torch.zeros(len(logits), 1))


def gradient(student: Tensor, teacher: Tensor) -> Tensor:
    logits = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(consistency(views(logits), views(teacher)), logits)
    return found


def test_cross_entropy_by_hand() -> None:
    # Teacher (3/4, 1/4) and (1/2, 1/2); student (1/2, 1/2) and (4/5, 1/5).
    teacher = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log()
    student = torch.tensor([[1.0, 1.0], [4.0, 1.0]]).log()
    expected = (math.log(2) - 0.5 * math.log(0.8 * 0.2)) / 2
    assert float(consistency(views(student), views(teacher))) == pytest.approx(expected)


def test_gradient_is_student_minus_teacher_over_the_batch() -> None:
    student, teacher = draw(4, 6), draw(4, 6, seed=1)
    expected = (student.softmax(-1) - teacher.softmax(-1)) / 4
    torch.testing.assert_close(gradient(student, teacher), expected, rtol=0, atol=1e-6)


def test_gradient_vanishes_where_both_agree() -> None:
    logits = 5 * draw(4, 6)
    assert float(gradient(logits, logits).abs().max()) < 1e-6
    assert float(consistency(views(logits), views(logits))) > 0.1


def test_teacher_gets_no_gradient() -> None:
    student, teacher = draw(2, 3).requires_grad_(), draw(2, 3, seed=1).requires_grad_()
    loss = consistency(views(student), views(teacher))
    assert torch.autograd.grad(loss, [student, teacher], allow_unused=True)[1] is None


def test_confident_disagreement_stays_finite() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert float(consistency(views(student), views(teacher))) == pytest.approx(2e4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_is_a_mean_over_the_batch(name: str) -> None:
    student, teacher = draw(3, 5), draw(3, 5, seed=1)
    once = OBJECTIVES[name](views(student), views(teacher))
    twice = OBJECTIVES[name](views(student.repeat(2, 1)), views(teacher.repeat(2, 1)))
    torch.testing.assert_close(once, twice)
