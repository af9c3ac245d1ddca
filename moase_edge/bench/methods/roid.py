"""ROID: weighted self-training, averaged with the source, and prior correction (Marsden et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.bench.methods.answered import (
    Answered,
    all_finite,
    logits_to_learn_from,
    take_step,
    whole_network_prediction,
)
from moase_edge.bench.methods.augment import RandomView
from moase_edge.bench.methods.losses import symmetric_cross_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.bench.subject import Subject
from moase_edge.moase.objectives.soft_likelihood_ratio import likelihood_ratios, sample_weights
from moase_edge.moase.teacher import update_teacher
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

View = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class RoidSettings:
    """ROID, arXiv 2306.00650 (mariodoebler/test-time-adaptation, methods/roid.py, conf.py and
    cfgs/imagenet_c/roid.yaml, used for ViT-B/16 as it is).

    Attributes:
        lr, momentum: of SGD with Nesterov momentum; the same for every batch size.
        source_momentum: share of the adapted weights that stays in the average with the source.
        mean_momentum: of the mean answer, from which diversity is measured.
        temperature: of the sample weights.
        clip, eps: of the soft likelihood ratio.
        window: single frames are collected, and an update is made when there are so many (methods/base.py; the
            published batch size).
    """

    lr: float = 2.5e-4
    momentum: float = 0.9
    source_momentum: float = 0.99
    mean_momentum: float = 0.9
    temperature: float = 1 / 3
    clip: float = 0.99
    eps: float = 1e-5
    window: int = 64


class Roid:
    """Scores the prior-corrected logits from before the update: two forward passes and a backward pass a batch.

    A batch of one has no spread to weigh by. As in the authors' code single frames are collected: those that do
    not fill the window are answered without update and correction, the one that does is answered within it.

    Args:
        network: a network of one's own, at its source state.
        view: what the consistency loss compares with.
        classes: K.
        seed: of the views.
    """

    def __init__(self, network: nn.Module, view: View, settings: RoidSettings, *, classes: int, seed: int) -> None:
        self._network, self._view, self._settings = network, view, settings
        self._trained = train_only(network, norm_parameter_names(network))
        self._original = [weight.detach().clone() for weight in self._trained]
        self._optimizer = torch.optim.SGD(self._trained, lr=settings.lr, momentum=settings.momentum, nesterov=True)
        self._generator = torch.Generator().manual_seed(seed)
        self._mean_answer = torch.full((classes,), 1 / classes)
        self._window: list[Tensor] = []
        self._step = 0
        self.name = "roid"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K)."""
        frames = torch.from_numpy(images)
        if len(frames) > 1:
            return self._answer(frames, len(frames), stages)
        if len(self._window) + 1 == self._settings.window:
            return self._answer(torch.cat([*self._window, frames]), 1, stages)
        with stages.timed("engine"), torch.no_grad():
            logits = self._network(frames)
        return whole_network_prediction(logits, frames)

    def _answer(self, frames: Tensor, answered: int, stages: Stages) -> Prediction:
        with stages.timed("engine"), torch.enable_grad():
            logits = self._network(frames)
        corrected = prior_corrected(logits.detach())[-answered:]
        return whole_network_prediction(corrected, Answered(frames, logits, self._step))

    @torch.enable_grad()
    def learn(self, prediction: Prediction) -> Update | None:
        """One step, and a little back toward the source; None where a single frame only joins the window."""
        batch = prediction.memory
        if isinstance(batch, Tensor):
            self._window.append(batch)
            return None
        if len(prediction.logits) == 1:
            self._window.clear()
        loss, kept = self._loss(cast(Answered, batch))
        if not all_finite(loss, self.failures):
            return None
        loss.backward()  # type: ignore[no-untyped-call]
        take_step(self._optimizer, self._settings.lr)
        update_teacher(self._trained, self._original, self._settings.source_momentum)
        self._step += 1
        return {"loss": float(loss.detach()), "kept": float(kept.sum())}

    def _loss(self, batch: Answered) -> tuple[Tensor, Tensor]:
        settings = self._settings
        logits = logits_to_learn_from(self._network, batch, self._step)
        weights, kept = sample_weights(logits.detach(), self._mean_answer, settings.temperature)
        mean = F.softmax(logits.detach(), dim=-1).mean(dim=0)
        if bool(torch.isfinite(mean).all()):
            self._mean_answer = torch.lerp(mean, self._mean_answer, settings.mean_momentum)
        ratio = likelihood_ratios(logits[kept], clip=settings.clip, eps=settings.eps)
        seen = self._network(self._view(batch.frames[kept], self._generator))
        consistency = symmetric_cross_entropy(seen, logits[kept])
        return ((ratio + consistency) * weights[kept]).sum() / len(batch.frames), kept

    def close(self) -> None:
        """Nothing to release."""


def prior_corrected(logits: Tensor) -> Tensor:
    """Logits times the smoothed mean answer of the batch: (B, K) -> (B, K).

    As in the authors' code it is the logits that are multiplied. The factor K on top changes no ranking and leaves
    them on their scale.
    """
    B, K = logits.shape
    prior = F.softmax(logits, dim=-1).mean(dim=0)
    smooth = max(1 / B, 1 / K) / prior.max()
    return logits * K * (prior + smooth) / (1 + smooth * K)


def build_roid(subject: Subject, seed: int) -> Roid:
    """On the whole network."""
    preprocess = subject.backbone.preprocess
    view = RandomView(preprocess.mean, preprocess.std, padding="reflect", blur_and_noise=False)
    return Roid(subject.network(), view, RoidSettings(), classes=subject.classes, seed=seed)
