"""The homeostatic proximal loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.errors import ConfigError
from moase_edge.moase.experts import Experts
from moase_edge.moase.proximal import PROXIMAL_FORMS, pull_toward
from tests.moase.adapters import adapter_at


def bank(*values: float) -> Experts:
    """E = 2, R = C = 1: down weight, down bias, up weight, up bias of expert 0, then of expert 1."""
    experts = Experts(1, experts=2, rank=1)
    with torch.no_grad():
        for weight, pair in zip(experts.parameters(), zip(values[:4], values[4:], strict=True), strict=True):
            weight.copy_(torch.tensor(pair).view_as(weight))
    return experts


def gradient(form: str, student: Experts, reference: Experts) -> Tensor:
    distance = PROXIMAL_FORMS[form]([student], [reference])
    return torch.cat([found.flatten() for found in torch.autograd.grad(distance, list(student.parameters()))])


# Differences (3, 4, 0, 0) and (0, 0, -5, 12): norms 5 and 13.
REFERENCE = (1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0)
STUDENT = (4.0, 5.0, 1.0, 1.0, 2.0, 2.0, -3.0, 14.0)
EXPECTED = {"squared": (25 + 169) / 2, "expert-norm": (5 + 13) / 2, "tensor-norm": (3 + 4 + 5 + 12) / 2}


@pytest.mark.parametrize("form", PROXIMAL_FORMS)
def test_distance_by_hand(form: str) -> None:
    assert PROXIMAL_FORMS[form]([bank(*STUDENT)], [bank(*REFERENCE)]).item() == pytest.approx(EXPECTED[form])


@pytest.mark.parametrize("form", PROXIMAL_FORMS)
def test_blocks_add_up(form: str) -> None:
    student = [bank(*STUDENT), bank(*REFERENCE), bank(*STUDENT)]
    assert PROXIMAL_FORMS[form](student, [bank(*REFERENCE)] * 3).item() == pytest.approx(2 * EXPECTED[form])


def test_gradient_of_the_square_grows_with_the_distance() -> None:
    origin = bank(*[0.0] * 8)
    near = gradient("squared", bank(*STUDENT), origin)
    assert near.tolist() == pytest.approx([4, 2, 5, 2, 1, -3, 1, 14])
    far = gradient("squared", bank(*(10 * value for value in STUDENT)), origin)
    torch.testing.assert_close(far, 10 * near)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("form", "terms"), [("expert-norm", 2), ("tensor-norm", 8)])
def test_gradient_of_the_published_norm_is_constant_whatever_the_distance(
    form: str, terms: int, scale: float
) -> None:
    moved = gradient(form, bank(*(scale * value for value in STUDENT)), bank(*[0.0] * 8))
    assert float(moved.norm()) == pytest.approx(0.5 * math.sqrt(terms))


@pytest.mark.parametrize("form", PROXIMAL_FORMS)
def test_gradient_at_distance_zero_is_zero(form: str) -> None:
    assert gradient(form, bank(*STUDENT), bank(*STUDENT)).tolist() == [0] * 8


def test_published_norm_is_constant_per_expert_where_one_expert_has_not_moved() -> None:
    student = bank(*STUDENT[:4], *REFERENCE[4:])
    assert float(gradient("expert-norm", student, bank(*REFERENCE)).norm()) == pytest.approx(0.5)


@pytest.mark.parametrize("form", PROXIMAL_FORMS)
def test_the_pull_is_the_weighted_distance_between_what_the_modules_are_now(form: str) -> None:
    student, anchor = adapter_at("edge", 8, seed=1), adapter_at("edge", 8, seed=2)
    pull = pull_toward(anchor, student, form=form, weight=0.5)
    assert pull is not None
    for _ in range(2):
        assert torch.equal(pull(), 0.5 * PROXIMAL_FORMS[form]([student.experts], [anchor.experts]))
        with torch.no_grad():
            next(student.experts.parameters()).add_(1)
    pull().backward()
    assert all(weight.grad is not None for weight in student.experts.parameters())


@pytest.mark.parametrize(("form", "weight"), [("none", 1.0), ("squared", 0.0)])
def test_without_form_or_weight_there_is_no_pull(form: str, weight: float) -> None:
    student = adapter_at("edge", 8)
    assert pull_toward(student, student, form=form, weight=weight) is None


def test_a_form_that_there_is_not_is_refused() -> None:
    student = adapter_at("edge", 8)
    with pytest.raises(ConfigError, match=r"form of the HP loss.*choose one of none, squared"):
        pull_toward(student, student, form="cubed", weight=1.0)
