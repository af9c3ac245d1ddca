"""ROID: sample weights, prior correction, the average with the source, single frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.bench.methods.losses import symmetric_cross_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.bench.methods.roid import Roid, RoidSettings, prior_corrected
from moase_edge.moase.objectives.soft_likelihood_ratio import likelihood_ratios, sample_weights
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import CLASSES, changed, frames, run, tiny_network, weights_of


def brighter(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + 0.1


def roid(settings: RoidSettings | None = None) -> tuple[Roid, nn.Module]:
    network = tiny_network()
    return Roid(network, brighter, settings or RoidSettings(), classes=CLASSES, seed=0), network


def test_logits_are_multiplied_by_the_smoothed_prior_and_the_number_of_classes() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])  # mean answer 3/4, 1/4
    smooth = max(1 / 2, 1 / 2) / 0.75
    factors = [2 * (0.75 + smooth) / (1 + 2 * smooth), 2 * (0.25 + smooth) / (1 + 2 * smooth)]
    assert sum(factors) == pytest.approx(2)
    assert torch.allclose(prior_corrected(logits), logits * torch.tensor(factors))


def test_the_correction_favours_the_classes_that_the_batch_is_made_of() -> None:
    # Seven frames of class 0 and one between the classes, a little toward class 1.
    logits = torch.tensor([[5.0, 0.0]] * 7 + [[2.0, 2.1]])
    assert int(logits[-1].argmax()) == 1
    assert int(prior_corrected(logits)[-1].argmax()) == 0


def expected_step(images: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Loss and weights after one step from the source, worked from the definition."""
    network, settings = tiny_network(), RoidSettings()
    names = norm_parameter_names(network)
    trained = train_only(network, names)
    logits = network(images)
    weights, kept = sample_weights(logits.detach(), torch.full((CLASSES,), 1 / CLASSES), settings.temperature)
    ratio = likelihood_ratios(logits, clip=0.99, eps=1e-5)
    seen = network(images + 0.1)
    loss = ((ratio + symmetric_cross_entropy(seen, logits)) * weights * kept).sum() / len(images)
    gradients = torch.autograd.grad(loss, trained)
    stepped = {
        # SGD with Nesterov momentum 0.9, then 1 % of the way back to the source.
        name: weight.detach() - 0.99 * 2.5e-4 * 1.9 * gradient
        for name, weight, gradient in zip(names, trained, gradients, strict=True)
    }
    return float(loss.detach()), stepped


def test_a_step_by_the_definition() -> None:
    method, network = roid()
    images = frames(6)
    loss, stepped = expected_step(torch.from_numpy(images))
    _, update = run(method, images)
    assert update is not None
    assert update["loss"] == pytest.approx(loss, rel=1e-4)
    assert 0 < update["kept"] < 6
    for name, weight in stepped.items():
        assert torch.allclose(network.get_parameter(name), weight, atol=1e-6)


def test_scale_and_shift_of_every_norm_learn_and_nothing_else() -> None:
    method, network = roid()
    before = weights_of(network)
    run(method, frames(4))
    assert changed(before, network) == set(norm_parameter_names(network))


def test_the_answer_is_the_corrected_one_from_before_the_update() -> None:
    method, _ = roid()
    images = frames(4)
    with torch.no_grad():
        logits = tiny_network()(torch.from_numpy(images))
    assert np.allclose(method.predict(images, Stages()).logits, prior_corrected(logits).numpy(), atol=1e-6)


def test_the_mean_answer_starts_equal_and_follows_the_batches() -> None:
    method, _ = roid()
    images = frames(4)
    with torch.no_grad():
        mean = F.softmax(tiny_network()(torch.from_numpy(images)), dim=1).mean(dim=0)
    run(method, images)
    assert torch.allclose(method._mean_answer, 0.9 / CLASSES + 0.1 * mean, atol=1e-6)


def test_single_frames_are_collected_until_the_window_is_full() -> None:
    method, network = roid(RoidSettings(window=3))
    before, images = weights_of(network), frames(4)
    singles = [images[index : index + 1] for index in range(4)]
    with torch.no_grad():
        logits = tiny_network()(torch.from_numpy(images))
    for index in range(2):
        prediction, update = run(method, singles[index])
        assert update is None
        assert np.allclose(prediction.logits[0], logits[index].numpy(), atol=1e-5)
    assert not changed(before, network)
    prediction, update = run(method, singles[2])
    assert update is not None
    assert np.allclose(prediction.logits, prior_corrected(logits[:3])[-1:].numpy(), atol=1e-5)
    assert changed(before, network)
    assert run(method, singles[3])[1] is None  # the window starts anew


def test_the_update_of_a_window_is_that_of_the_same_frames_in_one_batch() -> None:
    (collected, network), (together, other) = roid(RoidSettings(window=4)), roid()
    images = frames(4)
    for index in range(4):
        run(collected, images[index : index + 1])
    run(together, images)
    for name in norm_parameter_names(network):
        assert torch.allclose(network.get_parameter(name), other.get_parameter(name), atol=1e-7)


def test_single_frames_that_are_not_learned_from_do_not_fill_the_window() -> None:
    method, network = roid(RoidSettings(window=2))
    before = weights_of(network)
    for seed in range(5):
        method.predict(frames(1, seed), Stages())
    assert run(method, frames(1, 9))[1] is None
    assert not changed(before, network)


def test_a_batch_of_one_frame_shown_twice_leaves_finite_weights() -> None:
    method, network = roid()
    _, update = run(method, np.repeat(frames(1), 2, axis=0))
    assert update is not None
    assert all(bool(torch.isfinite(weight).all()) for weight in network.parameters())


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    method, network = roid()
    before, images = weights_of(network), frames(3)
    images[0, 0, 0, 0] = np.nan
    assert run(method, images)[1] is None
    assert method.failures == {"non-finite loss": 1}
    assert not changed(before, network)
    assert torch.isfinite(method._mean_answer).all()
