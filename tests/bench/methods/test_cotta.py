"""CoTTA: when the teacher averages, what learns, restore."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moase_edge.bench.methods.cotta import Cotta, CottaSettings, confidence_threshold, mean_confidence
from moase_edge.bench.methods.losses import symmetric_cross_entropy
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import changed, frames, run, tiny_network, weights_of

STEADY = CottaSettings(restore_probability=0.0)


class CountingView:
    """Brighter by one each time it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        self.count += 1
        return images + self.count


def cotta(settings: CottaSettings = STEADY, *, threshold: float = 0.0) -> tuple[Cotta, nn.Module, CountingView]:
    network, view = tiny_network(), CountingView()
    return Cotta(network, view, settings, threshold=threshold, seed=0), network, view


def test_confidence_is_the_mean_of_the_largest_probabilities() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    assert mean_confidence(logits) == pytest.approx((0.75 + 0.5) / 2)


def test_a_sure_source_model_spares_the_views() -> None:
    method, network, view = cotta(threshold=0.0)
    images = frames(2)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    prediction = method.predict(images, Stages())
    assert view.count == 0
    assert np.array_equal(prediction.logits, expected)


def test_an_unsure_one_makes_the_teacher_average_over_thirty_two_views() -> None:
    method, network, view = cotta(threshold=1.0)
    images = frames(2)
    prediction = method.predict(images, Stages())
    assert view.count == 32
    with torch.no_grad():
        answers = [network(torch.from_numpy(images) + step) for step in range(1, 33)]
    assert np.allclose(prediction.logits, torch.stack(answers).mean(dim=0).numpy(), atol=1e-5)


def test_it_is_the_source_model_whose_confidence_counts() -> None:
    images = frames(2)
    confidence = mean_confidence(tiny_network()(torch.from_numpy(images)))
    method, network, view = cotta(threshold=confidence + 1e-4)
    for part in (method._teacher, network):
        nn.init.zeros_(part.head.weight)  # type: ignore[union-attr,arg-type]
        part.head.weight.data.mul_(0)  # type: ignore[union-attr,operator]
    method.predict(images, Stages())
    assert view.count == 32
    method._threshold = confidence - 1e-4
    method.predict(images, Stages())
    assert view.count == 32


def test_the_frozen_answer_comes_with_the_teachers() -> None:
    method, _, _ = cotta(CottaSettings(lr=1.0))
    images = frames(3)
    for _ in range(3):
        prediction, _ = run(method, images)
    with torch.no_grad():
        source = tiny_network()(torch.from_numpy(images)).numpy()
    assert prediction.frozen_logits is not None
    assert np.array_equal(prediction.frozen_logits, source)
    assert not np.array_equal(prediction.logits, source)


def test_every_weight_of_the_network_learns() -> None:
    method, network, _ = cotta()
    before = weights_of(network)
    run(method, frames(4))
    assert changed(before, network) == set(before)


def test_the_student_steps_toward_the_target_and_the_teacher_follows() -> None:
    method, network, _ = cotta(threshold=1.0)
    images = frames(2)
    prediction = method.predict(images, Stages())
    target = torch.from_numpy(prediction.logits.copy())
    reference = tiny_network().requires_grad_(True)
    names, weights = zip(*reference.named_parameters(), strict=True)
    loss = symmetric_cross_entropy(reference(torch.from_numpy(images)), target).mean()
    gradients = torch.autograd.grad(loss, weights)
    update = method.learn(prediction)
    assert update is not None
    assert update["loss"] == pytest.approx(float(loss.detach()))
    for name, weight, gradient in zip(names, weights, gradients, strict=True):
        # The first step of SGD with Nesterov momentum m is (1 + m) times the gradient.
        stepped = weight.detach() - 0.01 * 1.9 * gradient
        assert torch.allclose(network.get_parameter(name), stepped, atol=1e-6)
        averaged = 0.999 * weight.detach() + 0.001 * stepped
        assert torch.allclose(method._teacher.get_parameter(name), averaged, atol=1e-7)


def test_restore_sets_single_weights_of_the_student_back() -> None:
    certain, network, _ = cotta(CottaSettings(restore_probability=1.0))
    before = weights_of(network)
    run(certain, frames(4))
    assert not changed(before, network)
    assert changed(before, certain._teacher)  # the average comes first
    some, network, _ = cotta(CottaSettings(restore_probability=0.25))
    run(some, frames(4))
    name = "blocks.0.mlp.fc1.weight"
    share = float((network.get_parameter(name) == before[name]).float().mean())
    assert 0.2 < share < 0.3


def test_threshold_is_the_quantile_of_the_source_confidence_less_the_margin() -> None:
    class Sure(nn.Module):
        """Confidence of the first class: the first pixel."""

        def forward(self, images: Tensor) -> Tensor:
            p = images[:, 0, 0, 0]
            return torch.stack([p.log(), (1 - p).log()], dim=1)

    images = np.zeros((21, 3, 1, 1), dtype=np.float32)
    images[:, 0, 0, 0] = np.linspace(0.6, 0.8, 21)
    # The 5 % quantile of 21 ordered values is the second.
    assert confidence_threshold(Sure(), images, STEADY) == pytest.approx(0.61 - 0.05, abs=1e-6)


def test_without_source_images_the_threshold_is_the_published_one() -> None:
    assert confidence_threshold(tiny_network(), None, STEADY) == 0.1


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    method, network, _ = cotta()
    before, images = weights_of(network), frames(2)
    images[0, 0, 0, 0] = np.inf
    assert run(method, images)[1] is None
    assert method.failures == {"non-finite loss": 1}
    assert not changed(before, network)
