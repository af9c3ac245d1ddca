"""BatchNorm by the batch's own statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from moase_edge.bench.methods.batch_statistics import (
    BatchStatistics,
    BatchStatisticsSettings,
    MixedBatchNorm,
    build_batch_statistics,
)
from moase_edge.errors import ConfigError
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import frames, run, tiny_subject


def convolution() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))
    return network.eval().requires_grad_(False)


def test_statistics_are_mixed_in_proportion_to_frames() -> None:
    norm = nn.BatchNorm1d(1, affine=False).eval()
    norm.running_mean, norm.running_var = torch.tensor([2.0]), torch.tensor([4.0])
    x = torch.tensor([[4.0], [8.0]])  # mean 6, variance 4
    mean, variance = (6 * 2 + 2 * 6) / 8, 4.0
    expected = (x - mean) / (variance + norm.eps) ** 0.5
    assert torch.allclose(MixedBatchNorm(norm, source_frames=6.0)(x), expected)


def test_without_source_frames_it_is_prediction_time_batch_norm() -> None:
    network, reference, images = convolution(), convolution().train(), frames(6)
    method = BatchStatistics(network, BatchStatisticsSettings(source_frames=0.0))
    logits = method.predict(images, Stages()).logits
    with torch.no_grad():
        assert np.allclose(logits, reference(torch.from_numpy(images)).numpy(), atol=1e-5)


def test_nothing_is_kept_between_batches_and_a_batch_of_one_works() -> None:
    method = BatchStatistics(convolution(), BatchStatisticsSettings())
    first = method.predict(frames(1), Stages()).logits.copy()
    _, update = run(method, frames(5, seed=3))
    assert update is None
    assert np.array_equal(method.predict(frames(1), Stages()).logits, first)


def test_many_source_frames_leave_the_source_model() -> None:
    images, source = frames(2), convolution()
    method = BatchStatistics(convolution(), BatchStatisticsSettings(source_frames=1e9))
    with torch.no_grad():
        expected = source(torch.from_numpy(images)).numpy()
    assert np.allclose(method.predict(images, Stages()).logits, expected, atol=1e-5)


def test_norms_that_keep_no_statistics_use_the_batch() -> None:
    norm, x = nn.BatchNorm1d(2, track_running_stats=False), torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    expected = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    assert torch.allclose(MixedBatchNorm(norm, 16.0)(x), expected, atol=1e-4)


def test_a_vision_transformer_has_none_to_adapt() -> None:
    with pytest.raises(ConfigError, match=r"no BatchNorm.*LayerNorm.*leave batch-statistics out|Leave batch-stat"):
        build_batch_statistics(tiny_subject(), 0)
