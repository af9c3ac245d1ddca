"""Alignment of the features' mean and spread with the source domain's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moase_edge.errors import ConfigError
from moase_edge.moase.objectives import FeatureMoments, Views
from moase_edge.moase.objectives.alignment import alignment
from tests.moase.adapters import draw
from tests.moase.objectives.answers import features

TEACHER = features(torch.zeros(1, 2))
SOURCE = FeatureMoments(mean=torch.tensor([1.0, 0.0]), std=torch.tensor([2.0, 0.5]))


def loss(values: Tensor, source: FeatureMoments = SOURCE) -> float:
    return float(alignment(features(values), TEACHER, source))


def test_two_frames_by_hand() -> None:
    # Means 3 and 1, population spreads 1 and 2: off by 1 and 2, and by 1/2 and 3 of the source's spread.
    assert loss(torch.tensor([[2.0, -1.0], [4.0, 3.0]])) == pytest.approx((1 + 4) / 2 + (0.25 + 9) / 2)


def test_a_batch_of_one_is_only_pulled_to_the_mean() -> None:
    assert loss(torch.tensor([[3.0, 1.0]])) == pytest.approx((1 + 4) / 2)


def test_features_with_the_source_s_moments_cost_nothing() -> None:
    values = draw(64, 5)
    source = FeatureMoments(mean=values.mean(0), std=values.std(0, correction=0))
    assert loss(values, source) == pytest.approx(0, abs=1e-10)


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_units_do_not_matter(scale: float, shift: float) -> None:
    values, mean, std = draw(8, 3).double(), draw(3, seed=1).double(), draw(3, seed=2).double().abs() + 0.5
    moved = FeatureMoments(mean=mean * scale + shift, std=std * scale)
    expected = loss(values, FeatureMoments(mean=mean, std=std))
    assert loss(values * scale + shift, moved) == pytest.approx(expected, rel=1e-6)


def test_a_channel_without_spread_counts_in_a_hundredth_of_the_mean_spread() -> None:
    source = FeatureMoments(mean=torch.zeros(2), std=torch.tensor([0.0, 2.0]))
    assert loss(torch.tensor([[0.03, 0.0]]), source) == pytest.approx(9 / 2)


def test_equal_frames_have_a_finite_gradient() -> None:
    values = torch.ones(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(alignment(features(values), TEACHER, SOURCE), values)
    assert torch.isfinite(gradient).all()


def test_a_step_down_its_gradient_moves_mean_and_spread_toward_the_source_s() -> None:
    values = (3 * draw(16, 2) + 5).requires_grad_()
    (gradient,) = torch.autograd.grad(alignment(features(values), TEACHER, SOURCE), values)
    moved = (values - 0.1 * gradient).detach()
    for of in (lambda x: x.mean(0) - SOURCE.mean, lambda x: x.std(0, correction=0) - SOURCE.std):
        assert (of(moved).abs() < of(values.detach()).abs()).all()


def test_without_source_moments_it_is_refused_with_the_commands_that_record_them() -> None:
    with pytest.raises(ConfigError, match=r"alignment needs.*export --source-data.*calibrate --source"):
        alignment(Views(logits=draw(2, 2), features=draw(2, 2)), TEACHER, None)
