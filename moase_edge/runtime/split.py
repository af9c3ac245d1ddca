"""The split model as a method: a frozen engine, and a sidecar that learns beside it."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.augmented import Rerun
from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Taps
from moase_edge.engines.base import Engine, Tensors
from moase_edge.moase.objectives import Views
from moase_edge.moase.step import StepReport
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

logger = logging.getLogger(__name__)

_NON_FINITE = "non-finite answer"

# Distances read every trained weight several times; they move slowly.
DISTANCE_EVERY = 10


@dataclass(frozen=True, slots=True)
class _Answered:
    taps: Taps
    views: Views
    images: NDArray[np.float32]


class SplitMethod:
    """Engine, sidecar and learner.

    A learner that fails never stops the answers: from then on the frozen model answers, and it is counted. An
    adapted answer that is not finite is replaced by the frozen one, for that frame alone, and not learned from.

    Args:
        engine: returns `mid`, `out` and `logits`.
        learner: whose sidecar fits the engine's taps.
    """

    def __init__(self, engine: Engine, learner: Learner) -> None:
        self._engine = engine
        self._learner = learner
        self._failed = False
        self.name = "split"
        self.failures: dict[str, int] = Counter()
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> the teacher's answer, or the frozen one.

        Raises:
            EngineError: the engine failed; without it there is no answer at all.
        """
        with stages.timed("engine"):
            outputs = self._engine.run(images)
        frozen = Prediction(outputs["logits"], outputs["logits"], np.zeros(len(images), dtype=bool))
        if self._failed:
            return frozen
        try:
            with stages.timed("sidecar"):
                return self._adapted(_taps(outputs), frozen, images)
        except Exception as exc:  # whatever it is, the frozen answer stands
            self._go_frozen("sidecar", exc)
            return frozen

    def _adapted(self, taps: Taps, frozen: Prediction, images: NDArray[np.float32]) -> Prediction:
        views = self._learner.predict(taps)
        logits = views.logits.numpy()
        finite = np.isfinite(logits).all(axis=1)
        if finite.all():
            return Prediction(logits, frozen.logits, finite, _Answered(taps, views, images))
        if not self.failures[_NON_FINITE]:
            logger.warning("an adapted answer is not finite; the frozen one is given. Further ones are counted.")
        self.failures[_NON_FINITE] += int((~finite).sum())
        return Prediction(np.where(finite[:, None], logits, frozen.logits), frozen.logits, finite)

    def learn(self, prediction: Prediction) -> Update | None:
        """One step on the batch that was answered last; None where it is not learned from, or failed."""
        if self._failed or not isinstance(prediction.memory, _Answered):
            return None
        try:
            report = self._step(prediction.memory)
            distances = self._distances() if self._learner.updates % DISTANCE_EVERY == 1 else {}
        except Exception as exc:  # whatever it is, the answers go on
            self._go_frozen("learner", exc)
            return None
        return {"loss": report.loss, "proximal": report.proximal, "grad_norm": report.grad_norm, **distances}

    def _step(self, batch: _Answered) -> StepReport:
        if not self._learner.augments:
            return self._learner.learn(batch.taps, batch.views)
        rerun = Rerun(batch.images, lambda frames: _taps(self._engine.run(frames)))
        return self._learner.learn(batch.taps, batch.views, rerun=rerun)

    def _distances(self) -> dict[str, float]:
        distance = self._learner.distance()
        return {
            "student_teacher_distance": distance.student_teacher,
            "teacher_source_distance": distance.teacher_source,
        }

    def _go_frozen(self, part: str, exc: Exception) -> None:
        self._failed = True
        self.failures[f"{part}: {type(exc).__name__}"] += 1
        logger.warning("the %s failed; the run goes on with the frozen model: %s", part, exc)

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def _taps(outputs: Tensors) -> Taps:
    return Taps(torch.from_numpy(outputs["mid"]), torch.from_numpy(outputs["out"]))
