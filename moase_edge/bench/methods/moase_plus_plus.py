"""MoASE++ (arXiv 2605.17743): the published loop, and distillation on augmented frames of learned strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moase_edge.bench.methods.answered import all_finite
from moase_edge.bench.methods.cotta import mean_confidence
from moase_edge.bench.methods.full_network import PUBLISHED, FullNetworkMethod
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import ADAPT_PRESETS
from moase_edge.moase.augment_frames import augment_frames
from moase_edge.moase.objectives import FeatureMoments, Objective, Views, consistency, reverse_kl
from moase_edge.moase.policy import AugmentPolicy, reward_of
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

MOASE = PUBLISHED["official"]
# The authors' code leaves HP out here.
LEARNER = ADAPT_PRESETS["official"].model_copy(update={"proximal": "none"})


@dataclass(frozen=True, slots=True)
class PlusPlusSettings:
    """What MoASE++ adds to MoASE, arXiv 2605.17743; values of the code (RoyZry98/MoASE-Pytorch @ 67e7947).

    Attributes:
        distillation_weight: of the reverse KL on the augmented frames, beside the consistency of weight 1.
        policy_lr: of the policy's Adam.
        policy_baseline: share of the running mean of rewards that stays.
        policy_entropy_bonus: weight of the policy's entropy.
    """

    distillation_weight: float = 1.0
    policy_lr: float = 1e-4
    policy_baseline: float = 0.9
    policy_entropy_bonus: float = 1e-3


class MoasePlusPlus:
    """MoASE on the frames as they are, and reverse KL where student and teacher both see them augmented.

    A batch costs what MoASE does twice over. Student and teacher start equal and see the same frames in both
    terms: as in MoASE, there is no gradient at the start.

    Args:
        network: student, teacher and their step.
        seed: of the policy's start and of all draws.
    """

    def __init__(self, network: FullNetworkMethod, settings: PlusPlusSettings, *, seed: int = 0) -> None:
        self._network, self._student, self._teacher = network, network.student, network.teacher
        self._objectives = [(_on(0, consistency), 1.0), (_on(1, reverse_kl), settings.distillation_weight)]
        self._generator = torch.Generator().manual_seed(seed)
        self._policy = AugmentPolicy(
            self._generator,
            lr=settings.policy_lr,
            decay=settings.policy_baseline,
            entropy_bonus=settings.policy_entropy_bonus,
        )
        self.name = "moase++"
        self.failures = network.failures
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """The teacher's answer: (B, 3, H, W) -> logits (B, K)."""
        return self._network.predict(images, stages)

    def learn(self, prediction: Prediction) -> Update | None:
        """One step of the student, then one of the policy; neither where the student's would not be finite."""
        frames, answered = cast("tuple[Tensor, Tensor]", prediction.memory)
        plain = self._student(frames)
        # The policy would ask for strengths that are not finite.
        if not all_finite(plain, self.failures):
            return None
        entropy = float(softmax_entropy(plain.detach()).mean())
        action = self._policy.draw(entropy, mean_confidence(plain.detach()), self._generator)
        seen = augment_frames(frames, action.strengths, self._generator)
        student, teacher = self._student(seen), self._answer(seen)
        update = self._network.step(lambda: _both(plain, student), _both(answered, teacher), self._objectives)
        if update is None:
            return None
        divergence = float(reverse_kl(_views(student.detach()), _views(teacher)))
        self._policy.learn(action, reward_of(divergence, action.strengths))
        return {**update, "reverse_kl": divergence, **action.strengths._asdict()}

    @torch.no_grad()
    def _answer(self, frames: Tensor) -> Tensor:
        return cast(Tensor, self._teacher(frames))

    def close(self) -> None:
        """Nothing to release."""


def _views(logits: Tensor) -> Views:
    return Views(logits=logits, features=logits)


def _both(plain: Tensor, augmented: Tensor) -> Views:
    """Answers to the frames as they are and to the augmented ones, one after the other: (2 B, K)."""
    return _views(torch.cat([plain, augmented]))


def _on(half: int, objective: Objective) -> Objective:
    """An objective on one half of such answers."""

    def loss(student: Views, teacher: Views, source: FeatureMoments | None, /) -> Tensor:
        first, second = (_views(views.logits.chunk(2)[half]) for views in (student, teacher))
        return objective(first, second, source)

    return loss


def build_plus_plus(subject: Subject, seed: int) -> MoasePlusPlus:
    """MoASE++ in every block of the whole network."""
    learner = LEARNER.model_copy(update={"seed": seed})
    network = FullNetworkMethod(subject.network(), MOASE, learner, seed=seed)
    return MoasePlusPlus(network, PlusPlusSettings(), seed=seed)
