"""T3A: class templates adjusted by the frames that the model is surest of (Iwasawa and Matsuo 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.features import Seen, linear_head, see, split_prediction
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.subject import Subject
from moase_edge.engines.base import Engine
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


@dataclass(frozen=True, slots=True)
class T3aSettings:
    """T3A, NeurIPS 2021 (matsuolab/T3A, adapt_algorithms.py), which selects M from 1, 5, 20, 50, 100 and all; 20
    is what FOA uses for ViT-B/16 on ImageNet-C (mr-eggplant/FOA, main.py).

    Attributes:
        kept: M, how many supports of lowest entropy a class keeps.
    """

    kept: int = 20


@dataclass(frozen=True, slots=True)
class SupportSet:
    """Supports by class; adding makes a new set, so that an answer that is not learned from leaves no trace.

    Attributes:
        entropies: of each class's supports, (n_k,).
        supports: of each class, (n_k, C), unit length.
        templates: (K, C), the normalised sum of each class's supports; zero where it has none.
    """

    entropies: Sequence[Tensor]
    supports: Sequence[Tensor]
    templates: Tensor

    @property
    def size(self) -> int:
        """Supports of all classes together."""
        return sum(map(len, self.entropies))

    def added(self, features: Tensor, logits: Tensor, kept: int) -> SupportSet:
        """With features (B, C) under the class that their logits (B, K) name, filtered to `kept` a class."""
        entropies, supports = list(self.entropies), list(self.supports)
        templates = self.templates.clone()
        directions, entropy, classes = F.normalize(features, dim=1), softmax_entropy(logits), logits.argmax(dim=1)
        for k in sorted(set(classes.tolist())):
            own = classes == k
            candidates = torch.cat([entropies[k], entropy[own]])
            order = candidates.argsort(stable=True)[:kept]
            entropies[k] = candidates[order]
            supports[k] = torch.cat([supports[k], directions[own]])[order]
            templates[k] = F.normalize(supports[k].sum(dim=0), dim=0)
        return SupportSet(entropies, supports, templates)


def first_supports(head: nn.Linear, kept: int) -> SupportSet:
    """The head's own weights as supports, under the class that the head itself gives them."""
    classes, channels = head.weight.shape
    empty = SupportSet(
        [head.weight.new_zeros(0)] * classes,
        [head.weight.new_zeros(0, channels)] * classes,
        head.weight.new_zeros(classes, channels),
    )
    return empty.added(head.weight, head(head.weight), kept)


class T3a:
    """Answers with the product of a frame's features and the class templates, which its own batch adjusts first.

    Args:
        engine, sidecar: the split at its source state.
    """

    @torch.no_grad()
    def __init__(self, engine: Engine, sidecar: Sidecar, settings: T3aSettings) -> None:
        self._engine, self._sidecar = engine, sidecar
        self._kept = settings.kept
        self._supports = first_supports(linear_head(sidecar, "T3A"), settings.kept)
        self.name = "t3a"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> logits (B, K): products with the templates."""
        seen = see(self._engine, self._sidecar, images, stages)
        with stages.timed("sidecar"):
            supports = self._supports.added(seen.features, seen.logits, self._kept)
            logits = seen.features @ supports.templates.T
        return split_prediction(logits, seen, seen)

    def learn(self, prediction: Prediction) -> Update:
        """Keep the batch's supports."""
        seen = cast(Seen, prediction.memory)
        self._supports = self._supports.added(seen.features, seen.logits, self._kept)
        return {"supports": float(self._supports.size)}

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def build_t3a(subject: Subject, seed: int) -> T3a:  # noqa: ARG001 - nothing is random
    """On the split."""
    sidecar = subject.frozen_sidecar()
    return T3a(subject.engine_for(sidecar), sidecar, T3aSettings())
