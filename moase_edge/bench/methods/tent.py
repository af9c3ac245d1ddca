"""TENT: entropy minimisation over the affine parameters of all normalisation layers (Wang et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from moase_edge.bench.methods.answered import Answered, all_finite, answer, logits_to_learn_from, take_step
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.bench.subject import Subject
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


@dataclass(frozen=True, slots=True)
class TentSettings:
    """Optimiser of TENT, arXiv 2006.10726: SGD.

    Attributes:
        lr: learning rate; for a batch of `lr_batch` and in proportion for others where that is given.
        momentum, nesterov: of SGD.
        lr_batch: None where the learning rate is the same for every batch size.
    """

    lr: float
    momentum: float
    nesterov: bool
    lr_batch: int | None


# As on ImageNet; ROID's authors take it over for ViT-B/16 (mariodoebler/test-time-adaptation,
# cfgs/imagenet_c/tent.yaml and conf.py).
PAPER = TentSettings(lr=2.5e-4, momentum=0.9, nesterov=True, lr_batch=None)
# SAR's comparison for ViT-B/16, batches of one included (mr-eggplant/SAR, main.py). At a batch of 16 both rates
# are the same; at a batch of one this is a sixteenth.
SCALED = TentSettings(lr=1e-3, momentum=0.9, nesterov=False, lr_batch=64)


class Tent:
    """Scores the logits from before the update: one forward and one backward pass a batch.

    Args:
        network: a network of one's own, at its source state.
    """

    def __init__(self, network: nn.Module, settings: TentSettings) -> None:
        self._network, self._settings = network, settings
        trained = train_only(network, norm_parameter_names(network))
        self._optimizer = torch.optim.SGD(
            trained, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov
        )
        self._step = 0
        self.name = "tent"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K)."""
        return answer(self._network, images, self._step, stages)

    @torch.enable_grad()
    def learn(self, prediction: Prediction) -> Update | None:
        """One step down the mean entropy."""
        batch = cast(Answered, prediction.memory)
        loss = softmax_entropy(logits_to_learn_from(self._network, batch, self._step)).mean()
        if not all_finite(loss, self.failures):
            return None
        loss.backward()  # type: ignore[no-untyped-call]
        take_step(self._optimizer, self._lr(len(batch.frames)))
        self._step += 1
        return {"loss": float(loss.detach())}

    def _lr(self, frames: int) -> float:
        settings = self._settings
        return settings.lr if settings.lr_batch is None else settings.lr * frames / settings.lr_batch

    def close(self) -> None:
        """Nothing to release."""


def build_tent(subject: Subject, seed: int, *, settings: TentSettings = PAPER) -> Tent:  # noqa: ARG001
    """On the whole network; nothing is random."""
    return Tent(subject.network(), settings)


build_scaled = partial(build_tent, settings=SCALED)
