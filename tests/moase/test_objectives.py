"""What an update minimises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.errors import ConfigError
from moase_edge.moase.objectives import (
    NEEDS_SOURCE,
    OBJECTIVES,
    FeatureMoments,
    Views,
    choose_objectives,
    consistency,
)
from tests.moase.adapters import draw
from tests.moase.objectives.answers import views

SOURCE = FeatureMoments(mean=torch.zeros(4), std=torch.ones(4))


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


def answer(seed: int) -> Views:
    return Views(logits=draw(3, 5, seed=seed), features=draw(3, 4, seed=seed + 10))


def repeated(views: Views) -> Views:
    return Views(logits=views.logits.repeat(2, 1), features=views.features.repeat(2, 1))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_is_a_mean_over_the_batch(name: str) -> None:
    student, teacher = answer(0), answer(1)
    once = OBJECTIVES[name](student, teacher, SOURCE)
    assert once.shape == ()
    torch.testing.assert_close(OBJECTIVES[name](repeated(student), repeated(teacher), SOURCE), once)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_works_without_source_moments_unless_it_says_that_it_needs_them(name: str) -> None:
    if name in NEEDS_SOURCE:
        with pytest.raises(ConfigError, match=name):
            OBJECTIVES[name](answer(0), answer(1), None)
    else:
        assert torch.isfinite(OBJECTIVES[name](answer(0), answer(1), None))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_that_are_not_finite_are_not_hidden(name: str) -> None:
    student = Views(logits=answer(0).logits.clone(), features=answer(0).features.clone())
    student.logits[1], student.features[1] = math.nan, math.nan
    assert not torch.isfinite(OBJECTIVES[name](student, answer(1), SOURCE))


def test_chosen_objectives_come_with_their_weights() -> None:
    chosen = choose_objectives({"entropy": 0.5, "alignment": 2.0}, SOURCE)
    assert chosen == [(OBJECTIVES["entropy"], 0.5), (OBJECTIVES["alignment"], 2.0)]


def test_an_objective_that_needs_source_moments_is_refused_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match=r"alignment needs.*export --source-data.*calibrate --source"):
        choose_objectives({"consistency": 1.0, "alignment": 1.0}, None)
