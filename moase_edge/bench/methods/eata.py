"""EATA: entropy of reliable, non-redundant frames, weights anchored by Fisher information (Niu et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.bench.methods.answered import Answered, all_finite, answer, logits_to_learn_from, take_step
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.bench.subject import Subject
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


@dataclass(frozen=True, slots=True)
class EataSettings:
    """EATA, arXiv 2204.02610 (mr-eggplant/EATA, eata.py and main.py, ImageNet-C); learning rate for ViT-B/16 from
    mr-eggplant/SAR, main.py.

    Attributes:
        lr: of SGD, for a batch of `lr_batch`; in proportion for others.
        momentum: of SGD.
        reliable_share: a frame is reliable below this share of ln K (E_0, equation 3).
        redundant_cosine: a frame is redundant from this cosine with the mean answer on (epsilon, equation 5).
        mean_momentum: of the mean answer (equation 4).
        fisher_weight: of the anchor (beta, equation 8).
        fisher_images: source images for the Fisher information, at most.
        fisher_batch: images of one gradient that is squared.
    """

    lr: float = 1e-3
    lr_batch: int = 64
    momentum: float = 0.9
    reliable_share: float = 0.4
    redundant_cosine: float = 0.05
    mean_momentum: float = 0.9
    fisher_weight: float = 2000.0
    fisher_images: int = 2000
    fisher_batch: int = 64


IMAGENET = EataSettings()
# The mean answer of few classes is never far from any answer; both published for CIFAR
# (mariodoebler/test-time-adaptation, cfgs/cifar10_c/eata.yaml and cfgs/cifar100_c/eata.yaml).
CIFAR10 = EataSettings(redundant_cosine=0.4, fisher_weight=1.0)
CIFAR100 = EataSettings(redundant_cosine=0.1, fisher_weight=1.0)


def settings_for(classes: int) -> EataSettings:
    """The published settings of the benchmark with the next larger number of classes."""
    if classes <= 10:
        return CIFAR10
    return CIFAR100 if classes <= 100 else IMAGENET


class Eata:
    """Scores the logits from before the update: one forward and one backward pass a batch, none where no frame is
    chosen.

    Args:
        network: a network of one's own, at its source state.
        source_images: (n, 3, H, W) preprocessed.
        classes: K.
    """

    def __init__(
        self, network: nn.Module, source_images: NDArray[np.float32], settings: EataSettings, *, classes: int
    ) -> None:
        self._network, self._settings = network, settings
        self._trained = train_only(network, norm_parameter_names(network))
        self._original = [weight.detach().clone() for weight in self._trained]
        images = torch.tensor(source_images[: settings.fisher_images])
        self._fisher = fisher_information(network, self._trained, images, settings.fisher_batch)
        self._optimizer = torch.optim.SGD(self._trained, lr=settings.lr, momentum=settings.momentum)
        self._margin = settings.reliable_share * math.log(classes)
        self._mean_answer: Tensor | None = None
        self._step = 0
        self.name = "eata"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K)."""
        return answer(self._network, images, self._step, stages)

    @torch.enable_grad()
    def learn(self, prediction: Prediction) -> Update | None:
        """One step down the weighted entropy of the chosen frames; None where none is chosen."""
        batch = cast(Answered, prediction.memory)
        logits = logits_to_learn_from(self._network, batch, self._step)
        entropy = softmax_entropy(logits)
        if not all_finite(entropy, self.failures):
            return None
        answers = F.softmax(logits.detach(), dim=-1)
        reliable = entropy.detach() < self._margin
        chosen = reliable & novel(answers, self._mean_answer, self._settings.redundant_cosine)
        if not bool(chosen.any()):
            return None
        self._remember(answers[chosen].mean(dim=0))
        anchor = self._settings.fisher_weight * squared_distance(self._trained, self._original, self._fisher)
        loss = (entropy * sample_weights(entropy, self._margin))[chosen].mean() + anchor
        loss.backward()  # type: ignore[no-untyped-call]
        take_step(self._optimizer, self._settings.lr * len(batch.frames) / self._settings.lr_batch)
        self._step += 1
        return {
            "loss": float(loss.detach()),
            "anchor": float(anchor.detach()),
            "reliable": float(reliable.sum()),
            "chosen": float(chosen.sum()),
        }

    def _remember(self, mean: Tensor) -> None:
        momentum, before = self._settings.mean_momentum, self._mean_answer
        self._mean_answer = mean if before is None else momentum * before + (1 - momentum) * mean

    def close(self) -> None:
        """Nothing to release."""


def novel(answers: Tensor, mean_answer: Tensor | None, redundant_cosine: float) -> Tensor:
    """Equation 5: whether an answer (B, K) points elsewhere than the mean answer (K,); all do before the first."""
    if mean_answer is None:
        return torch.ones(len(answers), dtype=torch.bool)
    return F.cosine_similarity(mean_answer[None], answers, dim=1).abs() < redundant_cosine


def sample_weights(entropy: Tensor, margin: float) -> Tensor:
    """Equation 3 without its filter: exp(E_0 - E), detached: (B,) -> (B,)."""
    return torch.exp(margin - entropy.detach())


def squared_distance(weights: Sequence[Tensor], original: Sequence[Tensor], fisher: Sequence[Tensor]) -> Tensor:
    """Equation 8's anchor: squared distance to the source, weighted by Fisher information."""
    terms = [(f * (w - o) ** 2).sum() for w, o, f in zip(weights, original, fisher, strict=True)]
    return torch.stack(terms).sum()


def fisher_information(network: nn.Module, weights: Sequence[Tensor], images: Tensor, batch: int) -> list[Tensor]:
    """Equation 9: mean over batches of the squared gradient of the cross-entropy against the network's labels."""
    chunks = torch.split(images, batch)
    fisher = [torch.zeros_like(weight) for weight in weights]
    for chunk in chunks:
        with torch.enable_grad():
            logits = network(chunk)
            gradients = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(dim=1)), weights)
        for total, gradient in zip(fisher, gradients, strict=True):
            total.add_(gradient**2 / len(chunks))
    return fisher


def build_eata(subject: Subject, seed: int) -> Eata:  # noqa: ARG001 - nothing is random
    """On the whole network."""
    settings = settings_for(subject.classes)
    return Eata(subject.network(), subject.source("eata"), settings, classes=subject.classes)
