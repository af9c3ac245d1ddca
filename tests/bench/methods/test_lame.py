"""LAME's affinity and fixed point."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.lame import Lame, LameSettings, assign, knn_affinity
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import PixelEngine, PixelSidecar, pixels, run

SETTINGS = LameSettings()


def lame() -> Lame:
    return Lame(PixelEngine(), cast(Sidecar, PixelSidecar(torch.eye(3))), SETTINGS)


def test_neighbours_are_found_by_direction_and_never_are_the_frame_itself() -> None:
    features = torch.tensor([[1.0, 0.0], [50.0, 1.0], [0.0, 1.0], [0.1, 30.0]])
    assert knn_affinity(features, 1).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_affinity_need_not_be_mutual() -> None:
    # The third is nearest to the second, whose own nearest is the first.
    angles = torch.tensor([0.0, 0.1, 0.3])
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert knn_affinity(features, 1).tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]


def test_fewer_frames_than_neighbours_are_all_neighbours() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert knn_affinity(features, 5).tolist() == (1 - torch.eye(3)).tolist()


def test_alone_in_its_batch_a_frame_gets_the_frozen_answer() -> None:
    assert knn_affinity(torch.ones(1, 4), 5).tolist() == [[0.0]]
    prediction, update = run(lame(), pixels((2.0, -1.0, 0.5)))
    assert update is None
    assert prediction.frozen_logits is not None
    given, frozen = (F.softmax(torch.tensor(x), dim=1) for x in (prediction.logits, prediction.frozen_logits))
    assert torch.allclose(given, frozen, atol=1e-6)


def test_assignments_are_a_fixed_point() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]])
    affinity = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    Y = F.softmax(assign(probabilities, affinity, SETTINGS), dim=1)
    assert torch.allclose(Y, F.softmax(probabilities.log() + affinity @ Y, dim=1), atol=1e-4)


def test_two_mutual_neighbours_by_hand() -> None:
    # With one class against another, Y is one number u a frame: logit(u_1) = logit(p_1) + 2 u_2 - 1, and back.
    p = [0.9, 0.45]
    u = list(p)
    for _ in range(200):
        u = [1 / (1 + np.exp(-(np.log(p[i] / (1 - p[i])) + 2 * u[1 - i] - 1))) for i in range(2)]
    probabilities = torch.tensor([[p[0], 1 - p[0]], [p[1], 1 - p[1]]])
    Y = F.softmax(assign(probabilities, 1 - torch.eye(2), SETTINGS), dim=1)
    assert np.allclose(Y[:, 0].numpy(), u, atol=1e-4)
    assert u[1] > 0.5 > p[1]  # the unsure frame follows its neighbour


def test_without_neighbours_nothing_changes() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    Y = F.softmax(assign(probabilities, torch.zeros(2, 2), SETTINGS), dim=1)
    assert torch.allclose(Y, probabilities, atol=1e-6)


def test_nothing_is_kept_between_batches() -> None:
    method, images = lame(), pixels((2.0, 1.0, 0.5), (1.0, 2.0, 0.4))
    first = method.predict(images, Stages()).logits.copy()
    run(method, pixels((0.0, 0.0, 9.0), (0.0, 1.0, 9.0)))
    assert np.array_equal(method.predict(images, Stages()).logits, first)
