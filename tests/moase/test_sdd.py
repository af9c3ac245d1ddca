"""Spatial Differentiate Dropout."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moase_edge.moase.sdd import keep_mask, keep_weaker_half, quantiles, rank_signs
from tests.moase.adapters import draw

SCORES = torch.tensor([3.0, -1.0, 2.0, 0.5])


def kept(scores: Tensor, keep: float) -> list[float]:
    return keep_mask(scores, torch.tensor(keep)).tolist()


def test_top_two_of_four_are_kept() -> None:
    assert kept(SCORES, 2) == [1, 0, 1, 0]


def test_sign_turns_top_into_bottom() -> None:
    assert kept(-SCORES, 2) == [0, 1, 0, 1]


def test_count_is_rounded_down() -> None:
    assert kept(SCORES, 1.99) == [1, 0, 0, 0]
    assert kept(SCORES, 3.01) == [1, 0, 1, 1]


@pytest.mark.parametrize("keep", [0.99, 0.0, -5.0])
def test_count_below_one_keeps_one(keep: float) -> None:
    assert kept(SCORES, keep) == [1, 0, 0, 0]


@pytest.mark.parametrize("keep", [4.0, 4.7, 100.0])
def test_count_above_the_width_keeps_all(keep: float) -> None:
    assert kept(SCORES, keep) == [1, 1, 1, 1]


def test_every_score_tied_at_the_threshold_is_kept() -> None:
    assert kept(torch.tensor([2.0, 1.0, 2.0, 2.0]), 2) == [1, 0, 1, 1]
    assert kept(torch.tensor([0.0, 0.0, 5.0, 0.0]), 2) == [1, 1, 1, 1]


def test_each_row_has_its_own_count() -> None:
    scores = torch.stack([SCORES, SCORES, -SCORES])
    mask = keep_mask(scores, torch.tensor([1.0, 3.0, 1.0]))
    assert mask.tolist() == [[1, 0, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0]]


@given(
    scores=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40, unique=True),
    keep=st.floats(-3, 50, width=32),
)
def test_number_kept_is_the_floor_within_bounds_when_scores_differ(scores: list[float], keep: float) -> None:
    mask = keep_mask(torch.tensor(scores), torch.tensor(keep))
    assert mask.sum() == min(max(math.floor(keep), 1), len(scores))
    assert torch.tensor(scores)[mask.bool()].min() >= max(
        [s for s, m in zip(scores, mask.tolist(), strict=True) if not m], default=-math.inf
    )


def test_forward_value_is_exactly_zero_or_one_with_a_gradient() -> None:
    keep = torch.rand(50, generator=torch.Generator().manual_seed(1)).mul(20).requires_grad_()
    mask = keep_mask(draw(50, 16), keep)
    assert mask.requires_grad
    assert set(mask.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(mask, keep_mask(draw(50, 16), keep.detach()))


def test_gradient_reaches_the_count_and_not_the_scores() -> None:
    keep = torch.tensor([1.5, 4.0, 7.9]).requires_grad_()
    scores = draw(3, 8).requires_grad_()
    of_keep, of_scores = torch.autograd.grad(keep_mask(scores, keep).sum(), [keep, scores], allow_unused=True)
    # A larger count keeps more mass, in every row.
    assert (of_keep > 0).all()
    assert of_scores is None


def test_straight_through_gradient_by_hand() -> None:
    # Mean gap (4 - 0) / 2 = 2; spread sqrt(8/3); threshold 4 at keep = 1, so logits are 0, -2/s, -4/s.
    scores, keep = torch.tensor([4.0, 2.0, 0.0]), torch.tensor(1.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(keep_mask(scores, keep).sum(), keep)
    s = math.sqrt(8 / 3)
    slopes = [1 / (1 + math.exp(-z / s)) * (1 - 1 / (1 + math.exp(-z / s))) for z in (0, -2, -4)]
    assert gradient.item() == pytest.approx(sum(slopes) * 2 / s, rel=1e-5)


def test_equal_scores_give_a_finite_gradient() -> None:
    keep = torch.tensor(2.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(keep_mask(torch.ones(6), keep).sum(), keep)
    assert gradient == 0


def test_weaker_half_by_magnitude_by_hand() -> None:
    x = torch.tensor([[-4.0, 0.5, 3.0, -1.0], [0.0, -9.0, 8.0, 7.0]])
    assert keep_weaker_half(x).tolist() == [[0, 0.5, 0, -1], [0, 0, 0, 7]]


def test_weaker_half_of_an_odd_width_is_rounded_down_and_keeps_ties() -> None:
    assert keep_weaker_half(torch.tensor([5.0, 1.0, 2.0, 3.0, 4.0])).tolist() == [0, 1, 2, 0, 0]
    assert keep_weaker_half(torch.tensor([1.0, -1.0, 1.0, 4.0])).tolist() == [1, -1, 1, 0]


def test_gradient_of_the_weaker_half_passes_where_kept() -> None:
    x = torch.tensor([-4.0, 0.5, 3.0, -1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(keep_weaker_half(x).sum(), x)
    assert gradient.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("experts", "expected"),
    [(2, [1 / 2] * 2), (4, [1 / 4, 1 / 2] * 2), (8, [1 / 8, 2 / 8, 3 / 8, 4 / 8] * 2)],
)
def test_quantiles_are_j_over_e_once_a_half(experts: int, expected: list[float]) -> None:
    assert quantiles(experts).tolist() == expected


@pytest.mark.parametrize(
    ("experts", "expected"), [(2, [1, -1]), (4, [1, 1, -1, -1]), (8, [1, 1, 1, 1, -1, -1, -1, -1])]
)
def test_first_half_keeps_the_strongest_and_second_half_the_weakest(experts: int, expected: list[float]) -> None:
    assert rank_signs(experts).tolist() == expected
