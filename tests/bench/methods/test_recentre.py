"""Re-centring."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.features import source_mean
from moase_edge.bench.methods.recentre import Recentre, RecentreSettings, advance, build_recentre
from moase_edge.errors import ConfigError
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import PixelEngine, PixelSidecar, pixels, run, tiny_subject

IDENTITY = torch.eye(3)


def recentre(momentum: float, mean: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Recentre:
    sidecar = cast(Sidecar, PixelSidecar(IDENTITY))
    return Recentre(PixelEngine(), sidecar, torch.tensor(mean), RecentreSettings(momentum))


def test_running_mean_moves_frame_by_frame() -> None:
    mean = advance(torch.zeros(1), torch.tensor([[8.0], [4.0]]), 0.75)
    assert mean.tolist() == [0.75 * (0.25 * 8) + 0.25 * 4]


def test_a_batch_counts_in_the_mean_that_it_is_answered_with() -> None:
    prediction = recentre(0.75).predict(pixels((8.0, 0.0, 0.0), (4.0, 0.0, 0.0)), Stages())
    assert prediction.logits[:, 0].tolist() == [8 - 2.5, 4 - 2.5]


def test_the_source_mean_is_where_features_are_moved_to() -> None:
    prediction = recentre(0.5, mean=(1.0, 2.0, 3.0)).predict(pixels((5.0, 2.0, 3.0)), Stages())
    assert prediction.logits.tolist() == [[3.0, 2.0, 3.0]]


@given(st.floats(0.5, 0.95), st.floats(-100, 100))
def test_of_a_constant_shift_the_momentum_to_the_power_of_the_frames_is_left(
    momentum: float, shift: float
) -> None:
    method, n = recentre(momentum), 40
    for _ in range(n - 1):
        run(method, pixels((shift, 0.0, 0.0)))
    left = float(method.predict(pixels((shift, 0.0, 0.0)), Stages()).logits[0, 0])
    assert left == pytest.approx(momentum**n * shift, rel=1e-3, abs=1e-4)


def test_a_constant_shift_is_gone_exactly_once_the_mean_has_arrived() -> None:
    pattern = [(1.0, -2.0, 0.5), (-1.0, 2.0, -0.5)]
    shifted = [tuple(value + 64 for value in feature) for feature in pattern]
    plain, moved = recentre(0.75), recentre(0.75)
    for _ in range(200):
        expected, _ = run(plain, pixels(*pattern))
        given_, _ = run(moved, pixels(*shifted))  # type: ignore[arg-type]
    assert np.allclose(given_.logits, expected.logits, atol=1e-4)


def test_an_answer_that_is_not_learned_from_leaves_no_trace() -> None:
    method, images = recentre(0.5), pixels((4.0, 2.0, 1.0))
    first = method.predict(images, Stages()).logits.copy()
    assert np.array_equal(method.predict(images, Stages()).logits, first)
    update = method.learn(method.predict(images, Stages()))
    assert update["shift"] == pytest.approx(0.5 * (16 + 4 + 1) ** 0.5)
    assert not np.array_equal(method.predict(images, Stages()).logits, first)


def test_source_images_are_averaged_over_all_chunks() -> None:
    images = pixels(*[(float(index), 0.0, 1.0) for index in range(40)])
    sidecar = cast(Sidecar, PixelSidecar(IDENTITY))
    assert source_mean(PixelEngine(), sidecar, images).tolist() == [19.5, 0.0, 1.0]


def test_frames_like_the_source_are_answered_as_the_source_does() -> None:
    subject = tiny_subject()
    assert subject.source_images is not None
    method = build_recentre(subject, 0, momentum=0.995)
    prediction, update = run(method, subject.source_images)
    assert prediction.frozen_logits is not None
    assert update is not None
    assert np.array_equal(prediction.logits.argmax(1), prediction.frozen_logits.argmax(1))


def test_without_source_images_it_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"recentre-0\.9 needs pictures of the source domain"):
        build_recentre(tiny_subject(sources=0), 0, momentum=0.9)
