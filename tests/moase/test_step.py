"""One step: what it does, in which order, and what it refuses."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from moase_edge.errors import AdaptationError
from moase_edge.moase.objectives import FeatureMoments, Objective, Views
from moase_edge.moase.step import StepLoss, StepReport, forward_and_adapt

INFINITY = math.inf
TEACHER = Views(logits=torch.zeros(1, 2), features=torch.zeros(1, 1))


def total(student: Views, teacher: Views, source: FeatureMoments | None = None, /) -> Tensor:
    return student.logits.sum()


def adapt(
    weight: Tensor,
    average: Tensor,
    optimizer: Optimizer,
    *,
    loss: Callable[[Tensor], Tensor] = torch.clone,
    objectives: list[tuple[Objective, float]] | None = None,
    proximal: Callable[[], Tensor] | None = None,
    source: FeatureMoments | None = None,
    toward_source: Callable[[], None] | None = None,
    restore: Callable[[], None] | None = None,
    alpha: float = 0.5,
    max_grad_norm: float = INFINITY,
) -> StepReport:
    """A step of a one-layer student whose logits are `loss(weight)`."""
    return forward_and_adapt(
        lambda: Views(logits=loss(weight), features=weight),
        TEACHER,
        StepLoss(objectives or [(total, 1.0)], source, proximal),
        trained=[weight],
        averaged=[average],
        optimizer=optimizer,
        alpha=alpha,
        max_grad_norm=max_grad_norm,
        toward_source=toward_source,
        restore=restore,
    )


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def test_optimiser_comes_before_average_and_average_before_restore() -> None:
    weight, average = leaf(1.0), torch.tensor([1.0])

    def restore() -> None:
        with torch.no_grad():
            weight.fill_(9)

    adapt(weight, average, SGD([weight], lr=0.5), restore=restore)
    # 1 - 0.5 * 1 = 0.5 was averaged with 1; were it restored first, the average would be 5.
    assert average.tolist() == [0.75]
    assert weight.tolist() == [9]


def test_average_with_the_source_comes_between_optimiser_and_teacher() -> None:
    weight, average = leaf(1.0), torch.tensor([1.0])

    def halve() -> None:
        with torch.no_grad():
            weight.mul_(0.5)

    adapt(weight, average, SGD([weight], lr=0.5), toward_source=halve)
    # (1 - 0.5 * 1) / 2 = 0.25; were the teacher first, it would be at 0.75.
    assert weight.tolist() == [0.25]
    assert average.tolist() == [0.625]


def test_objectives_are_given_the_source_moments() -> None:
    weight, source = leaf(1.0), FeatureMoments(mean=torch.tensor([3.0]), std=torch.tensor([1.0]))

    def from_mean(student: Views, teacher: Views, source: FeatureMoments | None, /) -> Tensor:
        assert source is not None
        return (student.features - source.mean).square().sum()

    report = adapt(weight, torch.zeros(1), SGD([weight], lr=0.1), objectives=[(from_mean, 1.0)], source=source)
    assert report.loss == pytest.approx(4)


def test_teacher_lags_behind_the_student() -> None:
    weight, average = leaf(0.0), torch.tensor([0.0])
    optimizer = SGD([weight], lr=1.0)
    path = []
    for _ in range(3):
        adapt(weight, average, optimizer, alpha=0.9)
        path.append((weight.item(), average.item()))
    assert path == [pytest.approx(pair) for pair in [(-1, -0.1), (-2, -0.29), (-3, -0.561)]]


def test_gradient_is_scaled_down_to_the_largest_norm() -> None:
    weight = leaf(0.0, 0.0)
    slope = torch.tensor([3.0, 4.0])
    report = adapt(weight, torch.zeros(2), SGD([weight], lr=1.0), loss=lambda w: w * slope, max_grad_norm=1.0)
    assert report.grad_norm == pytest.approx(5)
    assert weight.tolist() == pytest.approx([-0.6, -0.8])


def test_small_gradient_is_not_scaled() -> None:
    weight = leaf(0.0, 0.0)
    slope = torch.tensor([0.3, 0.4])
    adapt(weight, torch.zeros(2), SGD([weight], lr=1.0), loss=lambda w: w * slope, max_grad_norm=1.0)
    assert weight.tolist() == pytest.approx([-0.3, -0.4])


def test_infinite_bound_never_scales() -> None:
    weight = leaf(0.0)
    adapt(weight, torch.zeros(1), SGD([weight], lr=1.0), loss=lambda w: 1e6 * w)
    assert weight.tolist() == [-1e6]


def test_weighted_objectives_and_proximal_add_up() -> None:
    weight = leaf(2.0)

    def square(student: Views, teacher: Views, source: FeatureMoments | None, /) -> Tensor:
        return student.logits.square().sum()

    report = adapt(
        weight,
        torch.zeros(1),
        SGD([weight], lr=0.1),
        objectives=[(total, 3.0), (square, 0.5)],
        proximal=lambda: 0.25 * weight.sum(),
    )
    assert report.loss == pytest.approx(3 * 2 + 0.5 * 4 + 0.25 * 2)
    assert report.proximal == pytest.approx(0.5)
    assert report.grad_norm == pytest.approx(3 + 2 + 0.25)
    assert weight.item() == pytest.approx(2 - 0.1 * 5.25)


def test_gradient_of_an_earlier_step_is_forgotten() -> None:
    weight = leaf(0.0)
    weight.grad = torch.tensor([100.0])
    adapt(weight, torch.zeros(1), SGD([weight], lr=1.0))
    assert weight.tolist() == [-1]


def _nan_loss(weight: Tensor) -> Tensor:
    return weight * math.nan


def _infinite_loss(weight: Tensor) -> Tensor:
    return weight * 1e38 * 1e38


def _infinite_gradient(weight: Tensor) -> Tensor:
    return (weight - weight.detach()).sqrt()


@pytest.mark.parametrize("max_grad_norm", [1.0, INFINITY])
@pytest.mark.parametrize("loss", [_nan_loss, _infinite_loss, _infinite_gradient])
def test_nothing_changes_when_loss_or_gradient_is_not_finite(
    loss: Callable[[Tensor], Tensor], max_grad_norm: float
) -> None:
    weight, average = leaf(1.0, 2.0), torch.tensor([1.0, 2.0])
    optimizer = Adam([weight], lr=0.1, fused=True)
    adapt(weight, average, optimizer)
    before = copy.deepcopy((weight.detach(), average, optimizer.state_dict()["state"][0]))

    def restore() -> None:
        pytest.fail("restored after a failed step")

    with pytest.raises(AdaptationError, match=r"not finite.*left as they were"):
        adapt(
            weight,
            average,
            optimizer,
            loss=loss,
            max_grad_norm=max_grad_norm,
            toward_source=restore,
            restore=restore,
        )
    assert torch.equal(weight, before[0])
    assert torch.equal(average, before[1])
    state = optimizer.state_dict()["state"][0]
    assert state.keys() == before[2].keys()
    assert all(torch.equal(state[key], before[2][key]) for key in state)


def test_proximal_that_is_not_finite_is_refused_too() -> None:
    weight = leaf(1.0)
    with pytest.raises(AdaptationError):
        adapt(weight, torch.zeros(1), SGD([weight], lr=1.0), proximal=lambda: weight.sum() * math.inf)
    assert weight.tolist() == [1]


def test_next_step_after_a_refused_one_is_as_if_it_had_not_been() -> None:
    runs = []
    for faulty in (False, True):
        weight, average = leaf(1.0), torch.tensor([1.0])
        optimizer = Adam([weight], lr=0.1)
        adapt(weight, average, optimizer)
        if faulty:
            with pytest.raises(AdaptationError):
                adapt(weight, average, optimizer, loss=_nan_loss)
        adapt(weight, average, optimizer)
        runs.append((weight.item(), average.item()))
    assert runs[0] == runs[1]
