"""LAME: a batch's answers are made to agree with those of their neighbours (Boudiaf et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.features import see, split_prediction
from moase_edge.bench.subject import Subject
from moase_edge.engines.base import Engine
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

# Of the authors' code: keeps the logarithm of a probability and of an assignment finite.
PROBABILITY_FLOOR = 1e-10
ASSIGNMENT_FLOOR = 1e-20


@dataclass(frozen=True, slots=True)
class LameSettings:
    """LAME, arXiv 2201.05718 (fiveai/LAME, adaptation/lame.py; configs/method/best/LAME: k = 5).

    Attributes:
        neighbours: k of the kNN affinity.
        weight: of the pairwise term, lambda.
        max_steps: of the fixed-point iteration.
        tolerance: relative change of the energy below which it ends.
    """

    neighbours: int = 5
    weight: float = 1.0
    max_steps: int = 100
    tolerance: float = 1e-8


class Lame:
    """Changes no weight and keeps nothing between batches: alone in its batch, a frame gets the frozen answer.

    Args:
        engine, sidecar: the split at its source state.
    """

    def __init__(self, engine: Engine, sidecar: Sidecar, settings: LameSettings) -> None:
        self._engine, self._sidecar, self._settings = engine, sidecar, settings
        self.name = "lame"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> (B, K), whose softmax are the assignments."""
        seen = see(self._engine, self._sidecar, images, stages)
        with stages.timed("sidecar"):
            affinity = knn_affinity(seen.features, self._settings.neighbours)
            logits = assign(F.softmax(seen.logits, dim=-1), affinity, self._settings)
        return split_prediction(logits, seen)

    def learn(self, prediction: Prediction) -> Update | None:  # noqa: ARG002 - part of the protocol
        """Nothing is learned."""
        return None

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def knn_affinity(features: Tensor, neighbours: int) -> Tensor:
    """1 where the column is one of the row's nearest others, by unit features: (B, C) -> (B, B), not symmetric."""
    directions = F.normalize(features, dim=-1)
    # Exact differences rather than the product form, whose rounding would order near neighbours at random.
    distances = torch.cdist(directions, directions, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(min(neighbours + 1, len(features)), dim=-1, largest=False).indices[:, 1:]
    return torch.zeros_like(distances).scatter_(-1, nearest, 1.0)


def assign(probabilities: Tensor, affinity: Tensor, settings: LameSettings) -> Tensor:
    """The fixed point `Y = softmax(log p + lambda * affinity Y)`, as logits of Y: (B, K), (B, B) -> (B, K)."""
    log_probabilities = torch.log(probabilities + PROBABILITY_FLOOR)
    logits = log_probabilities
    assignments = F.softmax(logits, dim=-1)
    energy_before = float("inf")
    for step in range(settings.max_steps):
        pairwise = settings.weight * (affinity @ assignments)
        logits = log_probabilities + pairwise
        assignments = F.softmax(logits, dim=-1)
        log_assignments = assignments.clamp(min=ASSIGNMENT_FLOOR).log()
        energy = float((assignments * (log_assignments - log_probabilities - pairwise)).sum())
        if step > 1 and abs(energy - energy_before) <= settings.tolerance * abs(energy_before):
            break
        energy_before = energy
    return logits


def build_lame(subject: Subject, seed: int) -> Lame:  # noqa: ARG001 - nothing is random
    """On the split."""
    sidecar = subject.frozen_sidecar()
    return Lame(subject.engine_for(sidecar), sidecar, LameSettings())
