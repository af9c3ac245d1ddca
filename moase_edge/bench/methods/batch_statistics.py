"""Batch statistics instead of those of training, for networks with BatchNorm (vision transformers have none)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from moase_edge.bench.methods.answered import whole_network_prediction
from moase_edge.bench.subject import Subject
from moase_edge.errors import ConfigError
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


@dataclass(frozen=True, slots=True)
class BatchStatisticsSettings:
    """Schneider et al. 2020 (arXiv 2006.16971; bethgelab/robustness, examples/batchnorm): the statistics of
    training count as N frames, those of a batch as its n. N = 0 is Nado et al. 2020 (arXiv 2006.10963).

    Attributes:
        source_frames: N; the authors' code leaves it to the caller.
    """

    source_frames: float = 16.0


class BatchStatistics:
    """Normalises every batch by its own statistics, mixed with those of training; nothing is kept between batches.

    Args:
        network: with BatchNorm, in evaluation mode; its BatchNorm layers are replaced.
    """

    def __init__(self, network: nn.Module, settings: BatchStatisticsSettings) -> None:
        self._network = network
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, _BatchNorm):
                    setattr(module, name, MixedBatchNorm(child, settings.source_frames))
        self.name = "batch-statistics"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K)."""
        with stages.timed("engine"):
            logits = self._network(torch.from_numpy(images))
        return whole_network_prediction(logits, None)

    def learn(self, prediction: Prediction) -> Update | None:  # noqa: ARG002 - part of the protocol
        """Nothing is learned."""
        return None

    def close(self) -> None:
        """Nothing to release."""


class MixedBatchNorm(nn.Module):
    """A BatchNorm whose mean and variance are `(N * source + n * batch) / (N + n)`.

    Args:
        norm: with statistics of training.
        source_frames: N, what these count as.
    """

    def __init__(self, norm: _BatchNorm, source_frames: float) -> None:
        super().__init__()
        self.norm = norm
        self.source_frames = source_frames

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        norm, n = self.norm, len(x)
        if norm.running_mean is None or norm.running_var is None:
            return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        dims = [0, *range(2, x.ndim)]
        share = n / (self.source_frames + n)
        mean = torch.lerp(norm.running_mean, x.mean(dims), share)
        variance = torch.lerp(norm.running_var, x.var(dims, correction=0), share)
        return F.batch_norm(x, mean, variance, norm.weight, norm.bias, training=False, eps=norm.eps)


def build_batch_statistics(subject: Subject, seed: int) -> BatchStatistics:  # noqa: ARG001 - nothing is random
    """On the whole network.

    Raises:
        ConfigError: it has no BatchNorm.
    """
    network = subject.network()
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ConfigError(
            f"{subject.backbone.name} has no BatchNorm: a vision transformer normalises each token by itself "
            "(LayerNorm), so there are no batch statistics to adapt. Leave batch-statistics out; recentre-0.995 "
            "is the nearest that works here."
        )
    return BatchStatistics(network, BatchStatisticsSettings())
