"""TENT."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.bench.methods.tent import PAPER, SCALED, Tent, TentSettings
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import changed, frames, run, tiny_network, weights_of

FAST = TentSettings(lr=0.1, momentum=0.9, nesterov=False, lr_batch=None)


def test_scale_and_shift_of_every_norm_learn_and_nothing_else() -> None:
    network = tiny_network()
    before = weights_of(network)
    run(Tent(network, PAPER), frames(4))
    assert changed(before, network) == set(norm_parameter_names(network))


def test_the_answer_is_that_from_before_the_update() -> None:
    network, source, images = tiny_network(), tiny_network(), frames(4)
    prediction, _ = run(Tent(network, PAPER), images)
    with torch.no_grad():
        assert np.array_equal(prediction.logits, source(torch.from_numpy(images)).numpy())
        assert not np.array_equal(prediction.logits, network(torch.from_numpy(images)).numpy())


@pytest.mark.parametrize(
    ("settings", "batch", "factor"),
    [
        # The first step of SGD with Nesterov momentum m is (1 + m) times the gradient.
        (PAPER, 1, 2.5e-4 * 1.9),
        (PAPER, 4, 2.5e-4 * 1.9),
        (SCALED, 1, 1e-3 / 64),
        (SCALED, 4, 1e-3 * 4 / 64),
    ],
)
def test_a_step_goes_down_the_mean_entropy(settings: TentSettings, batch: int, factor: float) -> None:
    network, reference, images = tiny_network(), tiny_network(), frames(batch)
    names = norm_parameter_names(reference)
    trained = train_only(reference, names)
    loss = softmax_entropy(reference(torch.from_numpy(images))).mean()
    gradients = torch.autograd.grad(loss, trained)
    _, update = run(Tent(network, settings), images)
    assert update is not None
    assert update["loss"] == pytest.approx(float(loss.detach()))
    for name, weight, gradient in zip(names, trained, gradients, strict=True):
        assert torch.allclose(network.get_parameter(name), weight.detach() - factor * gradient, atol=1e-7)


def test_entropy_falls_on_a_repeated_batch() -> None:
    method, images = Tent(tiny_network(), FAST), frames(8)
    losses = [update["loss"] for _, update in (run(method, images) for _ in range(6)) if update]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_a_batch_can_be_learned_from_late_and_twice() -> None:
    # Between an answer and its update other batches may have been learned from: its graph is no longer valid.
    late, prompt = Tent(tiny_network(), FAST), Tent(tiny_network(), FAST)
    first, second = (late.predict(frames(4, seed), Stages()) for seed in (1, 2))
    late.learn(second)
    late.learn(first)
    late.learn(first)
    for seed in (2, 1, 1):
        run(prompt, frames(4, seed))
    images = frames(2, 7)
    assert np.allclose(late.predict(images, Stages()).logits, prompt.predict(images, Stages()).logits, atol=1e-5)


def test_it_learns_where_gradients_are_switched_off_around_it() -> None:
    network = tiny_network()
    before = weights_of(network)
    with torch.no_grad():
        run(Tent(network, PAPER), frames(2))
    assert changed(before, network)


def test_a_batch_that_is_not_finite_is_counted_and_changes_nothing() -> None:
    network, images = tiny_network(), frames(2)
    images[0, 0, 0, 0] = np.nan
    before, method = weights_of(network), Tent(network, PAPER)
    assert run(method, images)[1] is None
    assert method.failures == {"non-finite loss": 1}
    assert not changed(before, network)
