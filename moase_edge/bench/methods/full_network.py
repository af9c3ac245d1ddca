"""The published loop as a method: MoASE in every block, every weight trained, all of it in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.bench.methods.answered import count_non_finite, whole_network_prediction
from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.names import Preset
from moase_edge.errors import AdaptationError
from moase_edge.moase.adapter import MoaseAdapter
from moase_edge.moase.inject import inject
from moase_edge.moase.objectives import Objective, Views, choose_objectives
from moase_edge.moase.proximal import pull_toward
from moase_edge.moase.restore import restore_at_random
from moase_edge.moase.step import StepLoss, forward_and_adapt
from moase_edge.moase.teacher import make_teacher
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

# R = 192 in the authors' code, 48 in the log whose figure is the paper's (RoyZry98/MoASE-Pytorch).
PUBLISHED: Mapping[Preset, MoaseSettings] = {
    "official": MoaseSettings(preset="official", rank=192),
    "paper": MoaseSettings(preset="paper", rank=48),
}


class FullNetworkMethod:
    """Student and teacher are whole networks (arXiv 2405.16486, section 3; the authors' loop).

    A baseline: its cost and its answers are what the split is compared with. It has no frozen answer.

    Args:
        model: a vision transformer in evaluation mode; it is taken over as the student.
        moase: settings of the adapter in each block.
        settings: of the step; `view` is not used, both sides see the same frames.
        seed: of the adapters' start.

    Attributes:
        student, teacher: the networks, (B, 3, H, W) -> logits (B, K).
    """

    def __init__(self, model: nn.Module, moase: MoaseSettings, settings: AdaptSettings, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        channels, depth = cast(int, model.embed_dim), len(cast(nn.Sequential, model.blocks))
        adapters = [MoaseAdapter(channels, generator=generator, **moase.model_dump()).eval() for _ in range(depth)]
        self.student = inject(model, adapters).requires_grad_(True)
        self.teacher = make_teacher(self.student)
        self._trained: list[Tensor] = list(self.student.parameters())
        self._averaged: list[Tensor] = list(self.teacher.parameters())
        self._original = [weight.detach().clone() for weight in self._trained]
        self._optimizer = torch.optim.Adam(self._trained, lr=settings.lr, betas=settings.betas, fused=True)
        self._settings = settings
        self._pull = pull_toward(
            self.teacher, self.student, form=settings.proximal, weight=settings.proximal_weight
        )
        self._objectives = choose_objectives(settings.objectives, None)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self.name = f"full network, {moase.preset}"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """The teacher's answer: (B, 3, H, W) -> logits (B, K)."""
        frames = torch.from_numpy(images)
        with stages.timed("engine"):
            logits = self.teacher(frames)
        return whole_network_prediction(logits, (frames, logits))

    def learn(self, prediction: Prediction) -> Update | None:
        """One step of the whole student on the batch that was answered; None where it would not be finite."""
        frames, logits = cast("tuple[Tensor, Tensor]", prediction.memory)
        return self.step(partial(self._views, frames), Views(logits=logits, features=logits), self._objectives)

    def step(
        self, student: Callable[[], Views], teacher: Views, objectives: Sequence[tuple[Objective, float]]
    ) -> dict[str, float] | None:
        """One step with these views (see `forward_and_adapt`); None, and counted, where it would not be finite."""
        settings = self._settings
        try:
            report = forward_and_adapt(
                student,
                teacher,
                StepLoss(objectives, proximal=self._pull),
                trained=self._trained,
                averaged=self._averaged,
                optimizer=self._optimizer,
                alpha=settings.alpha,
                max_grad_norm=settings.max_grad_norm,
                restore=self._restore if settings.restore_probability else None,
            )
        except AdaptationError:
            count_non_finite(self.failures)
            return None
        return {"loss": report.loss, "proximal": report.proximal, "grad_norm": report.grad_norm}

    def close(self) -> None:
        """Nothing to release."""

    def _views(self, frames: Tensor) -> Views:
        logits = self.student(frames)
        return Views(logits=logits, features=logits)

    def _restore(self) -> None:
        probability = self._settings.restore_probability
        restore_at_random(self._trained, self._original, probability, self._generator)


def build_published(subject: Subject, seed: int, *, preset: Preset) -> FullNetworkMethod:
    """A published preset in every block of the whole network."""
    settings = ADAPT_PRESETS[preset].model_copy(update={"seed": seed})
    return FullNetworkMethod(subject.network(), PUBLISHED[preset], settings, seed=seed)


build_official = partial(build_published, preset="official")
build_paper = partial(build_published, preset="paper")
