"""One step of continual test-time adaptation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from moase_edge.errors import AdaptationError
from moase_edge.moase.objectives import FeatureMoments, Objective, Views
from moase_edge.moase.teacher import update_teacher


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did.

    Attributes:
        loss: the weighted sum that was minimised.
        proximal: the weighted HP term in it.
        grad_norm: norm of the gradient over all trained parameters, before clipping.
    """

    loss: float
    proximal: float
    grad_norm: float


@dataclass(frozen=True, slots=True)
class StepLoss:
    """What a step minimises.

    Attributes:
        objectives: with their weights.
        source: moments of the source domain's features, for objectives that need them.
        proximal: the weighted HP term, or None.
    """

    objectives: Sequence[tuple[Objective, float]]
    source: FeatureMoments | None = None
    proximal: Callable[[], Tensor] | None = None

    def __call__(self, student: Views, teacher: Views) -> tuple[Tensor, Tensor]:
        """The weighted sum with the HP term, and that term alone."""
        parts = [weight * objective(student, teacher, self.source) for objective, weight in self.objectives]
        loss = torch.stack(parts).sum()
        pull = self.proximal() if self.proximal is not None else loss.new_zeros(())
        return loss + pull, pull


def forward_and_adapt(
    student: Callable[[], Views],
    teacher: Views,
    loss: StepLoss,
    *,
    trained: Sequence[Tensor],
    averaged: Sequence[Tensor],
    optimizer: Optimizer,
    alpha: float,
    max_grad_norm: float,
    toward_source: Callable[[], None] | None = None,
    restore: Callable[[], None] | None = None,
) -> StepReport:
    """Student forward and backward, an optimiser step, the teacher's average, restore (arXiv 2405.16486).

    Weights and optimiser are left as they were unless loss and gradient are finite.

    Args:
        student: computes the student's views of this batch, with gradients.
        teacher: the teacher's views of the same frames, from before this update.
        trained, averaged: parameters that the optimiser owns, and the teacher's counterparts in the same order.
        alpha: share of the teacher that stays, 0..1.
        max_grad_norm: the gradient is scaled down to this norm; infinity never scales.
        toward_source: run after the optimiser and before the teacher's average, as ROID's average with the source.
        restore: run last, after the average, as CoTTA does.

    Raises:
        AdaptationError: loss or gradient is not finite.
    """
    optimizer.zero_grad(set_to_none=True)
    refuse_non_finite(report := _backward(*loss(student(), teacher), trained, max_grad_norm))
    optimizer.step()
    if toward_source is not None:
        toward_source()
    update_teacher(averaged, trained, alpha)
    if restore is not None:
        restore()
    return report


def _backward(loss: Tensor, pull: Tensor, trained: Sequence[Tensor], max_grad_norm: float) -> StepReport:
    """Leave the gradient of the loss in `trained`, clipped; `pull` is the HP term in the loss."""
    loss.backward()  # type: ignore[no-untyped-call]
    grad_norm = torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
    return StepReport(loss=float(loss.detach()), proximal=float(pull.detach()), grad_norm=float(grad_norm))


def refuse_non_finite(report: StepReport) -> None:
    """Raise AdaptationError if a value of the step left the finite numbers."""
    if not (math.isfinite(report.loss) and math.isfinite(report.grad_norm)):
        raise AdaptationError(
            f"the update is not finite (loss {report.loss}, gradient norm {report.grad_norm}); "
            "the weights were left as they were. Lower the learning rate or check the frames."
        )
