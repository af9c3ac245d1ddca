"""The learner: a student sidecar that takes steps, and a teacher sidecar that answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from moase_edge.adapt.augmented import Rerun, augmented_frames
from moase_edge.adapt.parts import distance, train_only, weights_of
from moase_edge.adapt.reservoir import Reservoir
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.state import AdaptedState
from moase_edge.adapt.views import VIEWS
from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.moase.choice import choose
from moase_edge.moase.objectives import FeatureMoments, Views, choose_objectives
from moase_edge.moase.objectives.entropy import softmax_entropy
from moase_edge.moase.policy import AugmentPolicy
from moase_edge.moase.proximal import pull_toward
from moase_edge.moase.restore import restore_at_random
from moase_edge.moase.step import StepLoss, StepReport, forward_and_adapt
from moase_edge.moase.teacher import make_teacher, update_teacher

# Updates from one measurement of the distances to the next: they read every trained weight, and move slowly.
DISTANCE_EVERY = 10


@dataclass(frozen=True, slots=True)
class TeacherDistance:
    """How far the learned weights have moved: Euclidean norms over the trained parameters."""

    student_teacher: float
    teacher_source: float


class Learner:
    """Learns from taps, one batch at a time (arXiv 2405.16486 on a split network).

    Both sidecars share every frozen tensor; only trained parameters exist twice, and once more as their source.

    Args:
        sidecar: at its source state; the learner takes it over as the student.
        train: parts that learn, of "adapter", "norm", "head"; all else is frozen.
        source: moments of the source domain's features, for objectives that need them.
        objectives: weight of each objective, by name.
        view, view_strength: what the student sees (see `adapt.views`, `adapt.augmented`).
        augment_policy: of the view "augmented-frame": "fixed" or "learned".
        proximal: form of the HP loss or "none"; `proximal_anchor` is "source" or "teacher".
        restore_probability: share of single weights set back to the source per step.
        source_averaging: share of the way back to the source that the student goes after each step (ROID).
        batch_from_reservoir: rows learned from again in each step, beside the new ones; 0 keeps none.
        reservoir_capacity: rows kept for that (see `adapt.reservoir`).
        seed: of view, restore and reservoir.

    The other arguments are those of `moase.step.forward_and_adapt` and of Adam.

    Raises:
        ConfigError: an unknown name, nothing to train or to minimise, or no `source` for what needs it.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        *,
        source: FeatureMoments | None = None,
        train: Sequence[str] = ("adapter",),
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        max_grad_norm: float = 1.0,
        alpha: float = 0.99,
        objectives: Mapping[str, float] = MappingProxyType({"consistency": 1.0}),
        view: str = "channel-dropout",
        view_strength: float = 0.1,
        augment_policy: str = "fixed",
        proximal: str = "squared",
        proximal_anchor: str = "source",
        proximal_weight: float = 0.01,
        restore_probability: float = 0.0,
        source_averaging: float = 0.0,
        batch_from_reservoir: int = 0,
        reservoir_capacity: int = 64,
        seed: int = 0,
    ) -> None:
        names = train_only(sidecar, train)
        copies = sidecar, make_teacher(sidecar), make_teacher(sidecar)
        self.student, self.teacher, self.source = copies
        self._trained, self._averaged, self._original = (weights_of(copy, names) for copy in copies)
        self._optimizer = torch.optim.Adam(self._trained, lr=lr, betas=betas, fused=True)
        self._view, self._view_strength = choose("view", VIEWS, view), view_strength
        self._augmented = augmented_frames(view, view_strength, augment_policy, seed=seed)
        anchor = choose("anchor of the HP loss", {"source": self.source, "teacher": self.teacher}, proximal_anchor)
        pull = pull_toward(anchor, self.student, form=proximal, weight=proximal_weight)
        self._loss = StepLoss(choose_objectives(objectives, source), source, pull)
        self._alpha, self._max_grad_norm = alpha, max_grad_norm
        self._restore_probability, self._source_averaging = restore_probability, source_averaging
        self._seed = seed
        self._generator = torch.Generator(device=self._trained[0].device).manual_seed(seed)
        self._batch_from_reservoir = batch_from_reservoir
        self._reservoir = self._new_reservoir(reservoir_capacity) if batch_from_reservoir else None
        self._clock = self.updates = 0

    @property
    def augments(self) -> bool:
        """Whether an update needs the frames again, and another engine run."""
        return self._augmented is not None

    @torch.no_grad()
    def predict(self, taps: Taps) -> Views:
        """The teacher's answer: logits (B, K), features (B, C), detached."""
        return cast(Views, self.teacher(taps))

    def learn(
        self, taps: Taps, teacher: Views, *, new: Tensor | None = None, rerun: Rerun | None = None
    ) -> StepReport:
        """One step on a batch that the teacher has answered, and on rows of the reservoir beside it.

        Args:
            new: (B,) bool, which rows the reservoir is offered afterwards; None offers all.
            rerun: the same batch's frames; needed where the learner `augments`.

        Raises:
            AdaptationError: loss or gradient is not finite; nothing was changed.
            ConfigError: frames are needed and were not given.
        """
        drawn_so_far = self._generator.get_state()
        try:
            report = self._step(*self._with_stored(self._seen(taps, teacher, rerun), teacher))
        except AdaptationError:
            self._generator.set_state(drawn_so_far)
            raise
        self.updates += 1
        if self._augmented is not None:
            self._augmented.learn(report.loss - report.proximal)
        self.keep(taps, teacher, new)
        return report

    def _step(self, taps: Taps, teacher: Views) -> StepReport:
        view = self._view(taps, self._view_strength, self._generator)
        return forward_and_adapt(
            partial(self.student, view),
            teacher,
            self._loss,
            trained=self._trained,
            averaged=self._averaged,
            optimizer=self._optimizer,
            alpha=self._alpha,
            max_grad_norm=self._max_grad_norm,
            toward_source=self._average_with_source if self._source_averaging else None,
            restore=self._restore if self._restore_probability else None,
        )

    def _with_stored(self, taps: Taps, teacher: Views) -> tuple[Taps, Views]:
        """The batch and a sample of the reservoir, answered anew: its answers of old are another teacher's."""
        if self._reservoir is None:
            return taps, teacher
        stored = self._reservoir.sample(self._batch_from_reservoir, self._generator)
        if stored is None:
            return taps, teacher
        again = self.predict(stored)
        views = Views(
            logits=torch.cat([teacher.logits, again.logits]),
            features=torch.cat([teacher.features, again.features]),
        )
        return Taps(*(torch.cat(pair) for pair in zip(taps, stored, strict=True))), views

    def keep(self, taps: Taps, teacher: Views, new: Tensor | None = None) -> None:
        """Offer a batch that was answered to the reservoir, if there is one; arguments as of `learn`."""
        if self._reservoir is None:
            return
        if new is not None:
            taps = Taps(taps.mid[new], taps.out[new])
            teacher = Views(logits=teacher.logits[new], features=teacher.features[new])
        self._reservoir.add(taps, teacher.logits.argmax(dim=-1), relative_entropy(teacher.logits), self._clock)
        self._clock += len(teacher.logits)

    def distance(self) -> TeacherDistance:
        """How far student, teacher and source lie apart."""
        return TeacherDistance(
            student_teacher=distance(self._trained, self._averaged),
            teacher_source=distance(self._averaged, self._original),
        )

    def snapshot(self) -> AdaptedState:
        """A copy of everything that was learned, the optimiser and the random state included."""
        return AdaptedState(
            student=[p.detach().clone() for p in self._trained],
            teacher=[p.detach().clone() for p in self._averaged],
            optimizer=copy.deepcopy(self._optimizer.state_dict()["state"]),
            generator=self._generator.get_state(),
            updates=self.updates,
            reservoir=None if self._reservoir is None else self._reservoir.snapshot(),
            clock=self._clock,
            policy=self._policy.snapshot() if self._policy is not None else None,
        )

    @torch.no_grad()
    def restore(self, state: AdaptedState) -> None:
        """Go back to a snapshot, bit for bit; learning rate and other settings stay this learner's own."""
        torch._foreach_copy_(self._trained, state.student)
        torch._foreach_copy_(self._averaged, state.teacher)
        # The optimiser takes over the tensors it is given, and writes to them.
        moments, settings = copy.deepcopy(state.optimizer), self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": settings})
        self._generator.set_state(state.generator)
        self._refill(state)
        self.updates = state.updates
        if self._policy is not None and state.policy is not None:
            self._policy.restore(state.policy)

    @torch.no_grad()
    def reset(self) -> None:
        """Go back to the source, bit for bit, as if nothing had been learned."""
        torch._foreach_copy_(self._trained, self._original)
        torch._foreach_copy_(self._averaged, self._original)
        self._optimizer.state.clear()
        self._generator.manual_seed(self._seed)
        if self._reservoir is not None:
            self._reservoir.reset()
        self._clock = 0
        self.updates = 0
        if self._policy is not None:
            self._policy.reset()

    @property
    def _policy(self) -> AugmentPolicy | None:
        return None if self._augmented is None else self._augmented.policy

    def _seen(self, taps: Taps, teacher: Views, rerun: Rerun | None) -> Taps:
        if self._augmented is None:
            return taps
        if rerun is None:
            raise ConfigError(
                "the view augmented-frame runs the engine on augmented frames, and this update was given none. "
                "Pass them, or choose a view of the taps."
            )
        return self._augmented.taps(rerun, teacher.logits, self._generator)

    def _refill(self, state: AdaptedState) -> None:
        if self._reservoir is not None:
            self._reservoir.reset()
            if state.reservoir is not None:
                self._reservoir.restore(state.reservoir)
        self._clock = state.clock

    def _new_reservoir(self, capacity: int) -> Reservoir:
        spec = self.student.spec
        return Reservoir(capacity, spec.tap_tokens, spec.channels, device=self._trained[0].device)

    def _average_with_source(self) -> None:
        update_teacher(self._trained, self._original, 1 - self._source_averaging)

    def _restore(self) -> None:
        restore_at_random(self._trained, self._original, self._restore_probability, self._generator)


def relative_entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax as a share of its most, ln K: (B, K) -> (B,), 0 (sure) to 1."""
    return softmax_entropy(logits) / math.log(max(logits.shape[-1], 2))
