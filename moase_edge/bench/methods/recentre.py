"""Re-centring: the mean of the final features is moved back to where it was in the source domain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.features import linear_head, see, source_mean, split_prediction
from moase_edge.bench.subject import Subject
from moase_edge.engines.base import Engine
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


@dataclass(frozen=True, slots=True)
class RecentreSettings:
    """The running mean of NEO's continual form (Murphy et al. 2026; awesomealex1/NEO, neo_cont.py: 0.9), applied
    frame by frame. NEO moves the mean to the origin, this to the mean of the source images.

    Attributes:
        momentum: share of the running mean that stays with each frame.
    """

    momentum: float


class Recentre:
    """Answers from `features - running mean + source mean`; the mean starts at that of the source.

    The frames of a batch count in the mean that they are answered with, as published; the mean is kept only where
    the batch is learned from.

    Args:
        engine, sidecar: the split at its source state.
        mean: (C,), of the source images.
    """

    def __init__(self, engine: Engine, sidecar: Sidecar, mean: Tensor, settings: RecentreSettings) -> None:
        self._engine, self._sidecar = engine, sidecar
        self._head = linear_head(sidecar, "re-centring")
        self._source_mean, self._mean = mean, mean
        self._momentum = settings.momentum
        self.name = f"recentre-{settings.momentum:g}"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K)."""
        seen = see(self._engine, self._sidecar, images, stages)
        with stages.timed("sidecar"):
            shift = advance(self._mean, seen.features, self._momentum) - self._source_mean
            logits = self._head(seen.features - shift)
        return split_prediction(logits, seen, seen.features)

    def learn(self, prediction: Prediction) -> Update:
        """Keep the mean that the batch leads to."""
        self._mean = advance(self._mean, cast(Tensor, prediction.memory), self._momentum)
        return {"shift": float((self._mean - self._source_mean).norm())}

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def advance(mean: Tensor, features: Tensor, momentum: float) -> Tensor:
    """The running mean (C,) after the features (B, C), one frame after the other."""
    for feature in features:
        mean = torch.lerp(feature, mean, momentum)
    return mean


def build_recentre(subject: Subject, seed: int, *, momentum: float) -> Recentre:  # noqa: ARG001 - nothing is random
    """On the split."""
    settings = RecentreSettings(momentum)
    sidecar = subject.frozen_sidecar()
    engine = subject.engine_for(sidecar)
    images = subject.source(f"recentre-{momentum:g}")
    return Recentre(engine, sidecar, source_mean(engine, sidecar, images), settings)


FAST = 0.9
SLOW = 0.995
build_fast = partial(build_recentre, momentum=FAST)
build_slow = partial(build_recentre, momentum=SLOW)
