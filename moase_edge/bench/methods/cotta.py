"""CoTTA: a weight- and augmentation-averaged teacher, and stochastic restore (Wang et al. 2022)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.bench.methods.answered import all_finite, take_step, whole_network_prediction
from moase_edge.bench.methods.augment import RandomView
from moase_edge.bench.methods.losses import symmetric_cross_entropy
from moase_edge.bench.subject import Subject
from moase_edge.moase.restore import restore_at_random
from moase_edge.moase.teacher import update_teacher
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

View = Callable[[Tensor, torch.Generator], Tensor]

_CHUNK = 16


@dataclass(frozen=True, slots=True)
class CottaSettings:
    """CoTTA, arXiv 2203.13591: alpha, N, restore and the rule of the threshold from the paper and its supplement;
    optimiser and symmetric loss from the code for ImageNet-C (qinenergy/cotta, imagenet/cotta.py and
    imagenet/cfgs), which restores 0.001.

    Attributes:
        lr, momentum: of SGD with Nesterov momentum; the same for every batch size.
        alpha: share of the teacher that stays.
        augmentations: N, views that are averaged where the source model is unsure.
        restore_probability: share of single weights set back to the source per step.
        confidence_quantile, confidence_margin: the source model is unsure below this quantile of its confidence on
            source images, less the margin.
        confidence_threshold: p_th where there are no source images: that of the code for ImageNet-C.
    """

    lr: float = 0.01
    momentum: float = 0.9
    alpha: float = 0.999
    augmentations: int = 32
    restore_probability: float = 0.01
    confidence_quantile: float = 0.05
    confidence_margin: float = 0.05
    confidence_threshold: float = 0.1


@dataclass(frozen=True, slots=True)
class _Answered:
    frames: Tensor
    target: Tensor


class Cotta:
    """All weights learn. Scores the teacher, from before the update.

    A batch costs a forward pass of the source model and one of the teacher, or N of the teacher where the source
    model is unsure, and a forward and a backward pass of the student.

    Args:
        network: a network of one's own, at its source state; it becomes the student.
        view: what the teacher sees of a batch where it averages.
        threshold: p_th, mean confidence of the source model below which the teacher averages.
        seed: of views and restore.
    """

    def __init__(
        self, network: nn.Module, view: View, settings: CottaSettings, *, threshold: float, seed: int
    ) -> None:
        self._source = copy.deepcopy(network).requires_grad_(False)
        self._teacher = copy.deepcopy(network).requires_grad_(False)
        self._student = network.requires_grad_(True)
        self._view, self._settings, self._threshold = view, settings, threshold
        self._trained: list[Tensor] = list(self._student.parameters())
        self._averaged: list[Tensor] = list(self._teacher.parameters())
        self._original: list[Tensor] = list(self._source.parameters())
        self._optimizer = torch.optim.SGD(self._trained, lr=settings.lr, momentum=settings.momentum, nesterov=True)
        self._generator = torch.Generator().manual_seed(seed)
        self.name = "cotta"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K) of the teacher; the frozen answer comes with it."""
        frames = torch.from_numpy(images)
        with stages.timed("engine"):
            frozen = self._source(frames)
            target = self._average(frames) if self._unsure(frozen) else self._teacher(frames)
        return whole_network_prediction(target, _Answered(frames, target), frozen.numpy())

    @torch.enable_grad()
    def learn(self, prediction: Prediction) -> Update | None:
        """One step of the student toward the teacher's answer, the teacher's average, restore."""
        batch = cast(_Answered, prediction.memory)
        loss = symmetric_cross_entropy(self._student(batch.frames), batch.target).mean()
        if not all_finite(loss, self.failures):
            return None
        loss.backward()  # type: ignore[no-untyped-call]
        take_step(self._optimizer, self._settings.lr)
        update_teacher(self._averaged, self._trained, self._settings.alpha)
        restore_at_random(self._trained, self._original, self._settings.restore_probability, self._generator)
        return {"loss": float(loss.detach())}

    def _unsure(self, frozen: Tensor) -> bool:
        return mean_confidence(frozen) < self._threshold

    def _average(self, frames: Tensor) -> Tensor:
        count = self._settings.augmentations
        views = [self._teacher(self._view(frames, self._generator)) for _ in range(count)]
        return torch.stack(views).mean(dim=0)

    def close(self) -> None:
        """Nothing to release."""


def mean_confidence(logits: Tensor) -> float:
    """Mean over the batch of the largest probability: (B, K) -> 0..1."""
    return float(F.softmax(logits, dim=-1).amax(dim=-1).mean())


@torch.no_grad()
def confidence_threshold(
    network: nn.Module, source_images: NDArray[np.float32] | None, settings: CottaSettings
) -> float:
    """p_th: a quantile of the confidence on source images less a margin; the published value without them."""
    if source_images is None:
        return settings.confidence_threshold
    logits = torch.cat([network(chunk) for chunk in torch.split(torch.tensor(source_images), _CHUNK)])
    confidence = F.softmax(logits, dim=-1).amax(dim=-1)
    return float(confidence.quantile(settings.confidence_quantile)) - settings.confidence_margin


def build_cotta(subject: Subject, seed: int) -> Cotta:
    """On the whole network."""
    settings, network, preprocess = CottaSettings(), subject.network(), subject.backbone.preprocess
    view = RandomView(preprocess.mean, preprocess.std, padding="edge", blur_and_noise=True)
    threshold = confidence_threshold(network, subject.source_images, settings)
    return Cotta(network, view, settings, threshold=threshold, seed=seed)
