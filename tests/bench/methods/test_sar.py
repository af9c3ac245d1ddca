"""SAR: reliable frames, the climb, the step, recovery."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.norm_layers import train_only
from moase_edge.bench.methods.sar import Sar, SarSettings, climb, mean_of, trained_names
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import CLASSES, changed, frames, run, tiny_network, weights_of

# Above ln K every frame counts; at 0 nothing ever recovers.
ALL = SarSettings(reliable_share=2.0, recovery_entropy=0.0)
NONE = SarSettings(reliable_share=0.0)


def sar(settings: SarSettings = ALL, **arguments: Any) -> tuple[Sar, torch.nn.Module]:
    network = tiny_network(**arguments)
    return Sar(network, settings, classes=CLASSES), network


def test_weights_climb_by_rho_along_the_gradient() -> None:
    weights = [torch.tensor([1.0, 1.0], requires_grad=True), torch.tensor([5.0], requires_grad=True)]
    weights[0].grad, weights[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    here = climb(weights, rho=0.5)  # the norm over both is 5
    assert [value.tolist() for value in here] == [[1.0, 1.0], [5.0]]
    assert torch.allclose(weights[0], torch.tensor([1.3, 1.0]))
    assert torch.allclose(weights[1], torch.tensor([5.4]))
    assert weights[0].grad is None


def test_without_a_gradient_there_is_no_climb() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    weight.grad = torch.zeros(1)
    climb([weight], rho=0.5)
    assert weight.tolist() == [2.0]


def test_the_mean_of_no_frame_is_zero_with_a_gradient_of_zero() -> None:
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = mean_of(values, torch.tensor([False, False]))
    (gradient,) = torch.autograd.grad(mean, values)
    assert float(mean.detach()) == 0
    assert gradient.tolist() == [0, 0]
    assert float(mean_of(values.detach(), torch.tensor([False, True]))) == 2


def test_of_twelve_blocks_the_last_three_and_the_final_norm_are_left_alone() -> None:
    names = trained_names(tiny_network(depth=12), skipped_share=0.25)
    assert {name.split(".")[1] for name in names} == {str(block) for block in range(9)}
    assert len(names) == 9 * 2 * 2


def test_a_norm_ahead_of_the_blocks_is_trained_and_one_behind_the_pooling_is_not() -> None:
    names = trained_names(tiny_network(pre_norm=True, global_pool="avg", fc_norm=True), skipped_share=0.25)
    assert {"norm_pre.weight", "norm_pre.bias"} < set(names)
    assert not any(name.startswith(("fc_norm", "norm.")) for name in names)


def test_only_the_named_norms_learn() -> None:
    method, network = sar()
    before = weights_of(network)
    run(method, frames(4))
    assert changed(before, network) == set(trained_names(network, 0.25))


def test_a_frame_is_reliable_below_the_share_of_ln_k() -> None:
    network, images = tiny_network(sure=1.0), frames(16)
    with torch.no_grad():
        entropy = softmax_entropy(network(torch.from_numpy(images)))
    share = float(entropy.median()) / math.log(CLASSES) + 1e-6
    _, update = run(sar(SarSettings(reliable_share=share, recovery_entropy=0.0))[0], images)
    assert update is not None
    assert update["reliable"] == 8
    assert update["loss"] == pytest.approx(float(entropy[entropy < share * math.log(CLASSES)].mean()), rel=1e-5)


def entropy_gradient(network: torch.nn.Module, images: Tensor, trained: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(softmax_entropy(network(images)).mean(), trained)


@pytest.mark.parametrize(("batch", "factor"), [(4, 1.0), (1, 2.0)])
def test_the_step_starts_where_it_was_along_the_gradient_found_above(batch: int, factor: float) -> None:
    (method, network), reference = sar(), tiny_network()
    images = frames(batch)
    names = trained_names(reference, 0.25)
    trained = train_only(reference, names)
    start = [weight.detach().clone() for weight in trained]
    gradients = entropy_gradient(reference, torch.from_numpy(images), trained)
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(trained, gradients, strict=True):
            weight.add_(0.05 * gradient / norm)
    above = entropy_gradient(reference, torch.from_numpy(images), trained)
    run(method, images)
    for name, weight, gradient in zip(names, start, above, strict=True):
        expected = weight - factor * 1e-3 * batch / 64 * gradient
        assert torch.allclose(network.get_parameter(name), expected, atol=1e-7)


def test_without_a_reliable_frame_weights_stay_until_momentum_moves_them() -> None:
    method, network = sar(NONE)
    before = weights_of(network)
    _, update = run(method, frames(4))
    assert update is not None
    assert update["reliable"] == 0
    assert not changed(before, network)


def test_momentum_goes_on_where_no_frame_is_reliable() -> None:
    method, network = sar()
    before = weights_of(network)
    run(method, frames(4))
    first = {name: weight - before[name] for name, weight in weights_of(network).items()}
    method._margin = 0.0
    between = weights_of(network)
    run(method, frames(4, seed=1))
    for name in trained_names(network, 0.25):
        # float32 weights of about 1 resolve 1e-7.
        assert torch.allclose(network.get_parameter(name) - between[name], 0.9 * first[name], atol=2e-7)


def test_weights_return_to_the_source_when_the_entropy_has_collapsed() -> None:
    method, network = sar(SarSettings(reliable_share=2.0, recovery_entropy=100.0))
    before = weights_of(network)
    _, update = run(method, frames(4))
    assert update is not None
    assert update["recoveries"] == 1
    assert not changed(before, network)
    assert not method._optimizer.state


def test_the_entropy_that_decides_on_recovery_is_a_running_mean() -> None:
    method, _ = sar()
    method._remember(1.0)
    method._remember(0.5)
    assert method._mean_entropy == pytest.approx(0.9 * 1.0 + 0.1 * 0.5)


def test_the_answer_is_that_of_the_first_pass() -> None:
    method, _ = sar()
    images = frames(3)
    with torch.no_grad():
        expected = tiny_network()(torch.from_numpy(images)).numpy()
    assert np.array_equal(method.predict(images, Stages()).logits, expected)
