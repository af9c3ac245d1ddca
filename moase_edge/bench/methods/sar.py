"""SAR: sharpness-aware entropy minimisation on reliable frames, with recovery (Niu et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.bench.methods.answered import Answered, all_finite, answer, logits_to_learn_from, take_step
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.bench.subject import Subject
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


@dataclass(frozen=True, slots=True)
class SarSettings:
    """SAR, arXiv 2302.12400 (mr-eggplant/SAR, sar.py, sam.py and main.py, ViT-B/16).

    Attributes:
        lr: of SGD, for a batch of `lr_batch`; in proportion for others, and `single_frame_factor` times that
            for batches of one.
        momentum: of SGD.
        reliable_share: a frame is reliable below this share of ln K (E_0, equation 2).
        rho: radius of the climb (equation 4).
        recovery_entropy: weights return to the source when the mean entropy falls below it (e_m).
        recovery_momentum: of that mean.
        skipped_share: of the blocks, from the last on, that are not trained: 9, 10 and 11 of 12. The norms after
            the blocks are not trained either.
    """

    lr: float = 1e-3
    lr_batch: int = 64
    single_frame_factor: float = 2.0
    momentum: float = 0.9
    reliable_share: float = 0.4
    rho: float = 0.05
    recovery_entropy: float = 0.2
    recovery_momentum: float = 0.9
    skipped_share: float = 0.25


class Sar:
    """Scores the logits of the first forward pass; a second pass sees the reliable frames alone.

    The authors' code sends all frames through it and drops the others afterwards: the same update where no layer
    looks across frames, and not what the paper counts. Where no frame is reliable the momentum alone moves on, as
    in their code. After a recovery the mean entropy starts anew.

    Args:
        network: a vision transformer of one's own, at its source state.
        classes: K.
    """

    def __init__(self, network: nn.Module, settings: SarSettings, *, classes: int) -> None:
        self._network, self._settings = network, settings
        self._trained = train_only(network, trained_names(network, settings.skipped_share))
        self._original = [weight.detach().clone() for weight in self._trained]
        self._optimizer = torch.optim.SGD(self._trained, lr=settings.lr, momentum=settings.momentum)
        self._margin = settings.reliable_share * math.log(classes)
        self._mean_entropy: float | None = None
        self._step = 0
        self.name = "sar"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K)."""
        return answer(self._network, images, self._step, stages)

    @torch.enable_grad()
    def learn(self, prediction: Prediction) -> Update | None:
        """Climb to the sharpest point near by, and step from where it was along the gradient found there."""
        batch = cast(Answered, prediction.memory)
        entropy = softmax_entropy(logits_to_learn_from(self._network, batch, self._step))
        if not all_finite(entropy, self.failures):
            return None
        reliable = entropy.detach() < self._margin
        mean_of(entropy, reliable).backward()  # type: ignore[no-untyped-call]
        still = reliable[:0]
        if bool(reliable.any()):
            still = self._gradient_from_above(batch.frames[reliable])
        take_step(self._optimizer, self._lr(len(batch.frames)))
        self._step += 1
        self._recover()
        return {
            "loss": float(mean_of(entropy.detach(), reliable)),
            "reliable": float(reliable.sum()),
            "reliable_after_climb": float(still.sum()),
            "recoveries": float(self.rollbacks),
        }

    def _gradient_from_above(self, frames: Tensor) -> Tensor:
        """Replace the gradient by that of the climbed weights; returns which frames are reliable there too."""
        here = climb(self._trained, self._settings.rho)
        entropy = softmax_entropy(self._network(frames))
        still = entropy.detach() < self._margin
        loss = mean_of(entropy, still)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            torch._foreach_copy_(self._trained, here)
        if bool(still.any()):
            self._remember(float(loss.detach()))
        return still

    def _remember(self, entropy: float) -> None:
        momentum = self._settings.recovery_momentum
        before = self._mean_entropy
        self._mean_entropy = entropy if before is None else momentum * before + (1 - momentum) * entropy

    @torch.no_grad()
    def _recover(self) -> None:
        if self._mean_entropy is None or self._mean_entropy >= self._settings.recovery_entropy:
            return
        torch._foreach_copy_(self._trained, self._original)
        self._optimizer.state.clear()
        self._mean_entropy = None
        self.rollbacks += 1

    def _lr(self, frames: int) -> float:
        settings = self._settings
        return settings.lr * frames / settings.lr_batch * (settings.single_frame_factor if frames == 1 else 1.0)

    def close(self) -> None:
        """Nothing to release."""


def trained_names(network: nn.Module, skipped_share: float) -> list[str]:
    """Norm parameters ahead of the last blocks and of everything behind the blocks."""
    depth = len(cast(nn.Sequential, network.blocks))
    last = depth - int(depth * skipped_share)
    ahead = ("patch_embed.", "norm_pre.", *(f"blocks.{index}." for index in range(last)))
    return [name for name in norm_parameter_names(network) if name.startswith(ahead)]


@torch.no_grad()
def climb(weights: Sequence[Tensor], rho: float) -> list[Tensor]:
    """Move weights by `rho` along their gradient (equation 4), clear it, and return the weights from before."""
    here = [weight.clone() for weight in weights]
    gradients = [cast(Tensor, weight.grad) for weight in weights]
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    scale = rho / (norm + 1e-12)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.add_(gradient * scale)
        weight.grad = None
    return here


def mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values; 0, with a gradient of 0, where none is."""
    return values[chosen].sum() / max(int(chosen.sum()), 1)


def build_sar(subject: Subject, seed: int) -> Sar:  # noqa: ARG001 - nothing is random
    """On the whole network."""
    return Sar(subject.network(), SarSettings(), classes=subject.classes)
