"""EATA: which frames are chosen, their weights, the Fisher anchor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from moase_edge.bench.methods.eata import (
    CIFAR10,
    CIFAR100,
    IMAGENET,
    Eata,
    EataSettings,
    build_eata,
    fisher_information,
    novel,
    sample_weights,
    settings_for,
    squared_distance,
)
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.errors import ConfigError
from tests.bench.methods.subjects import (
    CLASSES,
    Slope,
    changed,
    frames,
    run,
    tiny_network,
    tiny_subject,
    weights_of,
)

ALL = EataSettings(reliable_share=2.0, redundant_cosine=2.0)


def eata(settings: EataSettings = ALL) -> tuple[Eata, torch.nn.Module]:
    network = tiny_network()
    return Eata(network, frames(3, seed=9), settings, classes=CLASSES), network


def test_a_frame_is_redundant_from_the_published_cosine_on() -> None:
    mean = torch.tensor([1.0, 0.0])
    answers = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    assert novel(answers, mean, 0.7).tolist() == [False, True, True]
    assert novel(answers, mean, 0.05).tolist() == [False, False, True]


def test_nothing_is_redundant_before_there_is_a_mean_answer() -> None:
    assert novel(torch.ones(3, 2), None, 0.05).tolist() == [True] * 3


def test_weight_grows_with_certainty_and_is_one_at_the_margin() -> None:
    assert sample_weights(torch.tensor([1.0, 0.0]), margin=1.0).tolist() == pytest.approx([1.0, math.e])


def test_fisher_information_is_the_mean_squared_gradient_against_own_labels() -> None:
    # d/dw of -log p(label) with logits (w x, 0) is (p - [label is 0]) x.
    pixels, w = torch.tensor([1.0, -2.0, 0.5]), 0.3
    network, images = Slope(w), torch.zeros(3, 3, 1, 1)
    images[:, 0, 0, 0] = pixels
    p = torch.sigmoid(w * pixels)
    gradients = (p - (p > 0.5).float()) * pixels
    alone = fisher_information(network, [network.weight], images, batch=1)
    together = fisher_information(network, [network.weight], images, batch=2)
    assert float(alone[0]) == pytest.approx(float((gradients**2).mean()), rel=1e-5)
    expected = (float(gradients[:2].mean()) ** 2 + float(gradients[2]) ** 2) / 2
    assert float(together[0]) == pytest.approx(expected, rel=1e-5)


def test_the_anchor_weighs_squared_distance_by_fisher_information() -> None:
    weights, original = [torch.tensor([1.0, 3.0])], [torch.tensor([0.0, 1.0])]
    assert float(squared_distance(weights, original, [torch.tensor([2.0, 0.5])])) == 2 * 1 + 0.5 * 4


@pytest.mark.parametrize(
    ("classes", "expected"), [(2, CIFAR10), (10, CIFAR10), (11, CIFAR100), (100, CIFAR100), (1000, IMAGENET)]
)
def test_few_classes_take_the_settings_published_for_cifar(classes: int, expected: EataSettings) -> None:
    assert settings_for(classes) is expected


def test_scale_and_shift_of_every_norm_learn_and_nothing_else() -> None:
    method, network = eata()
    before = weights_of(network)
    run(method, frames(4))
    assert changed(before, network) == set(norm_parameter_names(network))


def test_a_step_goes_down_the_weighted_entropy_of_the_chosen_frames() -> None:
    images = frames(8)
    with torch.no_grad():
        entropy = softmax_entropy(tiny_network()(torch.from_numpy(images)))
    share = float(entropy.median()) / math.log(CLASSES) + 1e-6
    margin = share * math.log(CLASSES)
    method, network = eata(EataSettings(reliable_share=share))
    reference = tiny_network()
    names = norm_parameter_names(reference)
    trained = train_only(reference, names)
    entropy = softmax_entropy(reference(torch.from_numpy(images)))
    chosen = entropy.detach() < margin
    loss = (entropy * torch.exp(margin - entropy.detach()))[chosen].sum() / 4
    gradients = torch.autograd.grad(loss, trained)
    _, update = run(method, images)
    assert update is not None
    assert (update["reliable"], update["chosen"], update["anchor"]) == (4, 4, 0)
    assert update["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, weight, gradient in zip(names, trained, gradients, strict=True):
        expected = weight.detach() - 1e-3 * 8 / 64 * gradient
        assert torch.allclose(network.get_parameter(name), expected, atol=1e-7)


def test_the_anchor_pulls_once_weights_have_moved() -> None:
    method, _ = eata()
    run(method, frames(4))
    _, update = run(method, frames(4, seed=1))
    assert update is not None
    assert update["anchor"] > 0


def test_the_mean_answer_follows_the_chosen_frames() -> None:
    method, _ = eata()
    source = tiny_network()
    with torch.no_grad():
        first = F.softmax(source(torch.from_numpy(frames(4))), dim=1).mean(dim=0)
    run(method, frames(4))
    assert method._mean_answer is not None
    assert torch.allclose(method._mean_answer, first, atol=1e-6)
    method._remember(torch.ones(CLASSES))
    assert torch.allclose(method._mean_answer, 0.9 * first + 0.1, atol=1e-6)


def test_where_all_frames_are_redundant_nothing_is_learned_not_even_by_momentum() -> None:
    method, network = eata(EataSettings(reliable_share=2.0, redundant_cosine=0.0))
    assert run(method, frames(4))[1] is not None  # there is no mean answer yet
    before = weights_of(network)
    assert run(method, frames(4, seed=1))[1] is None
    assert not changed(before, network)


def test_an_unreliable_batch_leaves_no_mean_answer() -> None:
    method, _ = eata(EataSettings(reliable_share=0.0))
    assert run(method, frames(4))[1] is None
    assert method._mean_answer is None


def test_without_source_images_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="eata needs pictures of the source domain"):
        build_eata(tiny_subject(sources=0), 0)


def test_source_images_may_be_read_only() -> None:
    images = frames(3)
    images.flags.writeable = False
    method = Eata(tiny_network(), images, ALL, classes=CLASSES)
    assert np.isfinite([float(value.sum()) for value in method._fisher]).all()
