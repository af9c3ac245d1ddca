"""Features and logits of the frozen model, on the split: what the methods without gradients work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.engines.base import Engine
from moase_edge.errors import ConfigError
from moase_edge.moase.objectives import FeatureMoments
from moase_edge.runtime.method import Prediction
from moase_edge.runtime.stages import Stages

# Of the source images, which may be too many for one batch.
_CHUNK = 16


class Seen(NamedTuple):
    """Of one batch: features (B, C) that the head reads, logits (B, K), and the engine's own frozen logits."""

    features: Tensor
    logits: Tensor
    frozen_logits: NDArray[np.float32]


@torch.no_grad()
def see(engine: Engine, sidecar: Sidecar, images: NDArray[np.float32], stages: Stages) -> Seen:
    """(B, 3, H, W) -> features and logits; times engine and sidecar."""
    with stages.timed("engine"):
        outputs = engine.run(images)
    with stages.timed("sidecar"):
        views = sidecar(Taps(torch.from_numpy(outputs["mid"]), torch.from_numpy(outputs["out"])))
    return Seen(views.features, views.logits, outputs["logits"])


def split_prediction(logits: Tensor, seen: Seen, memory: object = None) -> Prediction:
    """Logits (B, K) made from what was seen as a prediction; the frozen answer comes with it."""
    return Prediction(logits.numpy(), seen.frozen_logits, np.ones(len(logits), dtype=bool), memory)


def source_features(engine: Engine, sidecar: Sidecar, images: NDArray[np.float32]) -> Tensor:
    """Features of the source images: (n, 3, H, W) -> (n, C)."""
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    return torch.cat([see(engine, sidecar, chunk, Stages()).features for chunk in chunks])


def source_mean(engine: Engine, sidecar: Sidecar, images: NDArray[np.float32]) -> Tensor:
    """Mean feature of the source images: (n, 3, H, W) -> (C,)."""
    return source_features(engine, sidecar, images).mean(dim=0)


def source_moments(engine: Engine, sidecar: Sidecar, images: NDArray[np.float32]) -> FeatureMoments:
    """Mean and spread of the features of the source images: (n, 3, H, W) -> (C,) each."""
    features = source_features(engine, sidecar, images)
    return FeatureMoments(mean=features.mean(dim=0), std=features.std(dim=0, correction=0))


def linear_head(sidecar: Sidecar, method: str) -> nn.Linear:
    """The one linear layer that turns features into logits.

    Raises:
        ConfigError: the network's head is something else; names the method that needs it.
    """
    if sidecar.head_dist is not None or not isinstance(sidecar.head, nn.Linear):
        raise ConfigError(
            f"{method} needs a single linear head on top of the features; this network is distilled and has two. "
            f"Leave {method} out, or take a backbone without distillation."
        )
    return sidecar.head
