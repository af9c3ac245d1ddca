"""MoASE beside chosen blocks of a whole network in PyTorch, early or late; only the adapters learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.bench.methods.answered import count_non_finite, whole_network_prediction
from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.moase.adapter import MoaseAdapter, adapters_of
from moase_edge.moase.inject import MoaseBlock
from moase_edge.moase.objectives import FeatureMoments, Views, choose_objectives
from moase_edge.moase.proximal import pull_toward
from moase_edge.moase.step import StepLoss, forward_and_adapt
from moase_edge.moase.teacher import make_teacher
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

# Of the source images, which may be too many for one batch.
_CHUNK = 16

Placement = Callable[[int], Sequence[int]]
"""Given a network's number of blocks, the indices of those that get an adapter."""


class PlacedMoase:
    """Student and teacher share all that lies before the first adapter: it runs once a frame, without a gradient.

    The loss sees the final features, so an early adapter pays for a backward pass through all blocks behind it.

    Args:
        model: a vision transformer in evaluation mode; taken over as the student.
        blocks: indices of those that get an adapter, ascending.
        moase, settings: of the adapters and of the step, as on the split but without a reservoir.
        source: moments of the source features; None where no objective needs them.
        seed: of the adapters' start.
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: Sequence[int],
        moase: MoaseSettings,
        settings: AdaptSettings,
        source: FeatureMoments | None,
        *,
        seed: int = 0,
    ) -> None:
        self.student = _with_adapters(model.requires_grad_(False), blocks, moase, seed)
        self.teacher = make_teacher(self.student)
        self._first, self._settings = blocks[0], settings
        anchor = make_teacher(self.student)
        self._trained, self._averaged, self._original = map(_weights_of, (self.student, self.teacher, anchor))
        self._optimizer = torch.optim.Adam(self._trained, lr=settings.lr, betas=settings.betas, fused=True)
        pull = pull_toward(anchor, self.student, form=settings.proximal, weight=settings.proximal_weight)
        self._loss = StepLoss(choose_objectives(settings.objectives, source), source, pull)
        self.name = f"MoASE beside {len(blocks)} blocks"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @property
    def parameters(self) -> int:
        """How many numbers learn."""
        return sum(weight.numel() for weight in self._trained)

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """The teacher's answer: (B, 3, H, W) -> logits (B, K)."""
        with stages.timed("engine"):
            tokens = enter(self.student, torch.from_numpy(images), self._first)
            views = leave(self.teacher, tokens, self._first)
        return whole_network_prediction(views.logits, (tokens, views))

    def learn(self, prediction: Prediction) -> Update | None:
        """One step of the adapters on the batch that was answered; None where it would not be finite."""
        tokens, teacher = cast("tuple[Tensor, Views]", prediction.memory)
        settings = self._settings
        try:
            report = forward_and_adapt(
                partial(leave, self.student, tokens, self._first),
                teacher,
                self._loss,
                trained=self._trained,
                averaged=self._averaged,
                optimizer=self._optimizer,
                alpha=settings.alpha,
                max_grad_norm=settings.max_grad_norm,
                toward_source=self._toward_source if settings.source_averaging else None,
            )
        except AdaptationError:
            count_non_finite(self.failures)
            return None
        return {"loss": report.loss, "grad_norm": report.grad_norm}

    def close(self) -> None:
        """Nothing to release."""

    @torch.no_grad()
    def _toward_source(self) -> None:
        torch._foreach_lerp_(self._trained, self._original, self._settings.source_averaging)


def _weights_of(network: nn.Module) -> list[Tensor]:
    return [weight for adapter in adapters_of(network) for weight in adapter.parameters()]


def _with_adapters(model: nn.Module, blocks: Sequence[int], moase: MoaseSettings, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    network = cast(Any, model)
    for index in blocks:
        adapter = MoaseAdapter(network.embed_dim, generator=generator, **moase.model_dump()).eval()
        network.blocks[index] = MoaseBlock(network.blocks[index], adapter)
    return model


def enter(model: Any, images: Tensor, first: int) -> Tensor:
    """The stream at the entrance of a block: (B, 3, H, W) -> (B, N, C)."""
    x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    for block in model.blocks[:first]:
        x = block(x)
    return cast(Tensor, x)


def leave(model: Any, x: Tensor, first: int) -> Views:
    """From the entrance of a block to the answer: (B, N, C) -> logits (B, K), features (B, C)."""
    for block in model.blocks[first:]:
        x = block(x)
    features = model.forward_head(model.norm(x), pre_logits=True)
    return Views(logits=model.head(features), features=features)


@torch.no_grad()
def source_moments(model: nn.Module, images: NDArray[np.float32]) -> FeatureMoments:
    """Mean and spread of the final features: (n, 3, H, W) -> (C,) each."""
    chunks = [torch.from_numpy(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    features = torch.cat([leave(model, enter(model, chunk, 0), 0).features for chunk in chunks])
    return FeatureMoments(mean=features.mean(dim=0), std=features.std(dim=0, correction=0))


def build_placed(
    subject: Subject, seed: int, *, placement: Placement, moase: MoaseSettings, settings: AdaptSettings
) -> PlacedMoase:
    """Adapters where `placement` says.

    Raises:
        ConfigError: a distilled network, whose two heads read two features, or no source images.
    """
    network = subject.network()
    if hasattr(network, "head_dist"):
        raise ConfigError(
            f"{subject.backbone.name} is distilled and has two heads; MoASE is placed in networks with one. Take "
            "a backbone without distillation."
        )
    moments = source_moments(network, subject.source("MoASE with the alignment objective"))
    blocks = placement(len(cast(Any, network).blocks))
    return PlacedMoase(network, blocks, moase, settings, moments, seed=seed)
