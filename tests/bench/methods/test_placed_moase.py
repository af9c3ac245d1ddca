"""MoASE placed early or late in a whole network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moase_edge.bench.methods import build_method
from moase_edge.bench.methods.placed_moase import PlacedMoase, enter, leave, source_moments
from moase_edge.bench.methods.variants import LEARN, PLACEMENTS, first_blocks, last_blocks
from moase_edge.bench.subject import Subject
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError
from moase_edge.moase.objectives import FeatureMoments
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import changed, frames, run, tiny_backbone, tiny_subject, weights_of


def placed(name: str, subject: Subject) -> PlacedMoase:
    method = build_method(name, subject, 0)
    assert isinstance(method, PlacedMoase)
    return method


def test_placements_count_from_the_first_or_the_last_block_and_stay_within() -> None:
    assert list(first_blocks(12, count=2)) == [0, 1]
    assert list(last_blocks(12, count=2)) == [10, 11]
    assert list(first_blocks(3, count=4)) == list(last_blocks(3, count=4)) == [0, 1, 2]


@pytest.mark.parametrize("name", PLACEMENTS)
def test_it_starts_as_the_source_and_only_its_adapters_learn(name: str) -> None:
    subject, images = tiny_subject(), frames(4)
    method = placed(name, subject)
    with torch.no_grad():
        expected = subject.network()(torch.from_numpy(images)).numpy()
    assert np.allclose(method.predict(images, Stages()).logits, expected, atol=1e-5)
    before = weights_of(method.student)
    _, update = run(method, images)
    assert update is not None
    assert update["grad_norm"] > 0
    moved = changed(before, method.student)
    blocks = {int(weight.split(".")[1]) for weight in moved}
    assert all(".moase." in weight for weight in moved)
    assert blocks == set(PLACEMENTS[name][0](4))
    # The teacher follows.
    assert not np.allclose(method.predict(images, Stages()).logits, expected, atol=1e-6)


def test_entering_and_leaving_at_any_block_is_the_whole_network() -> None:
    network, images = tiny_subject().network(), torch.from_numpy(frames(2))
    with torch.no_grad():
        for first in range(5):
            torch.testing.assert_close(
                leave(network, enter(network, images, first), first).logits, network(images)
            )


def test_moments_are_of_all_images() -> None:
    network, images = tiny_subject().network(), frames(20)
    with torch.no_grad():
        features = leave(network, enter(network, torch.from_numpy(images), 0), 0).features
    moments = source_moments(network, images)
    torch.testing.assert_close(moments.mean, features.mean(dim=0))
    torch.testing.assert_close(moments.std, features.std(dim=0, correction=0))


def test_a_distilled_network_is_refused() -> None:
    backbone = tiny_backbone(distilled=True)
    with pytest.raises(ConfigError, match="two heads"):
        build_method("moase-every", Subject.in_torch(backbone, source_images=frames(2)), 0)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted() -> None:
    subject = tiny_subject()
    unknown = torch.full((16,), torch.nan)
    moments = FeatureMoments(unknown, unknown)
    method = PlacedMoase(subject.network(), [3], MoaseSettings(), LEARN, moments)
    before = weights_of(method.student)
    _, update = run(method, frames(2))
    assert update is None
    assert sum(method.failures.values()) == 1
    assert not changed(before, method.student)
