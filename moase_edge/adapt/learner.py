"""The learner: a student sidecar that takes steps, and a teacher sidecar that answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from moase_edge.adapt.augmented import Rerun, augmented_frames
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.state import AdaptedState
from moase_edge.adapt.views import VIEWS
from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.moase.adapter import adapters_of
from moase_edge.moase.choice import choose
from moase_edge.moase.experts import Experts
from moase_edge.moase.objectives import OBJECTIVES, Views
from moase_edge.moase.policy import AugmentPolicy
from moase_edge.moase.proximal import PROXIMAL_FORMS
from moase_edge.moase.restore import restore_at_random
from moase_edge.moase.step import StepReport, forward_and_adapt
from moase_edge.moase.teacher import make_teacher


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
        objectives: weight of each objective, by name.
        view, view_strength: what the student sees (see `adapt.views`, `adapt.augmented`).
        augment_policy: of the view "augmented-frame": "fixed" or "learned".
        proximal: form of the HP loss or "none"; `proximal_anchor` is "source" or "teacher".
        restore_probability: share of single weights set back to the source per step.
        seed: of view and restore.

    The other arguments are those of `moase.step.forward_and_adapt` and of Adam.

    Raises:
        ConfigError: an unknown name, or nothing to train or to minimise.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        *,
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
        seed: int = 0,
    ) -> None:
        self.student = sidecar.requires_grad_(False)
        for part in trained_parts(sidecar, train):
            part.requires_grad_(True)
        self.teacher = make_teacher(sidecar)
        self.source = make_teacher(sidecar)
        names = [name for name, p in self.student.named_parameters() if p.requires_grad]
        if not names:
            raise ConfigError(
                f"nothing to train: this sidecar has no weights in {', '.join(train) or 'no part'}. "
                'Train its "adapter".'
            )
        if not objectives:
            raise ConfigError(f"nothing to minimise: name one or more of {', '.join(OBJECTIVES)}.")
        self._trained: list[Tensor] = [self.student.get_parameter(name) for name in names]
        self._averaged: list[Tensor] = [self.teacher.get_parameter(name) for name in names]
        self._original: list[Tensor] = [self.source.get_parameter(name) for name in names]
        self._optimizer = torch.optim.Adam(self._trained, lr=lr, betas=betas, fused=True)
        self._objectives = [(choose("objective", OBJECTIVES, name), weight) for name, weight in objectives.items()]
        self._view, self._view_strength = choose("view", VIEWS, view), view_strength
        self._augmented = augmented_frames(view, view_strength, augment_policy, seed=seed)
        self._pull = self._pull_toward(proximal_anchor, proximal, proximal_weight)
        self._alpha, self._max_grad_norm = alpha, max_grad_norm
        self._restore_probability = restore_probability
        self._seed = seed
        self._generator = torch.Generator(device=self._trained[0].device).manual_seed(seed)
        self.updates = 0

    @property
    def augments(self) -> bool:
        """Whether an update needs the frames again, and another engine run."""
        return self._augmented is not None

    @torch.no_grad()
    def predict(self, taps: Taps) -> Views:
        """The teacher's answer: logits (B, K), features (B, C), detached."""
        return cast(Views, self.teacher(taps))

    def learn(self, taps: Taps, teacher: Views, rerun: Rerun | None = None) -> StepReport:
        """One step on a batch that the teacher has answered.

        Args:
            rerun: the same batch's frames; needed where the learner `augments`.

        Raises:
            AdaptationError: loss or gradient is not finite; nothing was changed.
            ConfigError: frames are needed and were not given.
        """
        drawn_so_far = self._generator.get_state()
        view = self._view(self._seen(taps, teacher, rerun), self._view_strength, self._generator)
        try:
            report = forward_and_adapt(
                partial(self.student, view),
                teacher,
                trained=self._trained,
                averaged=self._averaged,
                optimizer=self._optimizer,
                objectives=self._objectives,
                proximal=self._pull,
                alpha=self._alpha,
                max_grad_norm=self._max_grad_norm,
                restore=self._restore if self._restore_probability else None,
            )
        except AdaptationError:
            self._generator.set_state(drawn_so_far)
            raise
        self.updates += 1
        if self._augmented is not None:
            self._augmented.learn(report.loss - report.proximal)
        return report

    def distance(self) -> TeacherDistance:
        """How far student, teacher and source lie apart."""
        return TeacherDistance(
            student_teacher=_distance(self._trained, self._averaged),
            teacher_source=_distance(self._averaged, self._original),
        )

    def snapshot(self) -> AdaptedState:
        """A copy of everything that was learned, the optimiser and the random state included."""
        return AdaptedState(
            student=[p.detach().clone() for p in self._trained],
            teacher=[p.detach().clone() for p in self._averaged],
            optimizer=copy.deepcopy(self._optimizer.state_dict()["state"]),
            generator=self._generator.get_state(),
            updates=self.updates,
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

    def _pull_toward(self, anchor: str, form: str, weight: float) -> Callable[[], Tensor] | None:
        anchors = {"source": self.source, "teacher": self.teacher}
        reference = experts_of(choose("anchor of the HP loss", anchors, anchor))
        distance = choose("form of the HP loss", {"none": None, **PROXIMAL_FORMS}, form)
        if distance is None or not weight:
            return None
        return lambda: weight * distance(experts_of(self.student), reference)

    def _restore(self) -> None:
        restore_at_random(self._trained, self._original, self._restore_probability, self._generator)


def trained_parts(sidecar: Sidecar, train: Sequence[str]) -> list[nn.Module]:
    """The modules behind the names "adapter", "norm" and "head".

    Raises:
        ConfigError: another name.
    """
    parts: dict[str, list[nn.Module | None]] = {
        "adapter": [sidecar.adapters],
        "norm": [sidecar.norm, sidecar.fc_norm],
        "head": [sidecar.head, sidecar.head_dist],
    }
    return [module for name in train for module in choose("part", parts, name) if module is not None]


def experts_of(sidecar: Sidecar) -> list[Experts]:
    """The experts of every adapter, in order."""
    return [adapter.experts for adapter in adapters_of(sidecar)]


def _distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    with torch.no_grad():
        norms = torch._foreach_norm(torch._foreach_sub(list(first), list(second)))
        return float(torch.stack(norms).norm())
