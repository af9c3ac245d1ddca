"""An engine and a learner for the split method, whose every number a test can foresee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.adaptation import Adaptation
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.learner import Learner, TeacherDistance
from moase_edge.adapt.sidecar import Taps
from moase_edge.moase.objectives import Views
from moase_edge.moase.step import StepReport
from moase_edge.runtime.split import SplitMethod

CHANNELS, CLASSES = 8, 3
IMAGES = np.zeros((2, 3, 4, 4), dtype=np.float32)


class FakeEngine:
    """Gives the same taps and logits for each batch."""

    def __init__(self, frozen: list[list[float]], failure: Exception | None = None) -> None:
        self.name = "fake"
        self.closed = False
        self._failure = failure
        rows = len(frozen)
        rng = np.random.default_rng(0)
        self.outputs: Mapping[str, NDArray[np.float32]] = {
            "mid": rng.standard_normal((rows, 1, CHANNELS), dtype=np.float32),
            "out": rng.standard_normal((rows, 1, CHANNELS), dtype=np.float32),
            "logits": np.array(frozen, dtype=np.float32),
        }

    def run(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, NDArray[np.float32]]:
        if self._failure is not None:
            raise self._failure
        return {name: array.copy() for name, array in self.outputs.items()}

    def close(self) -> None:
        self.closed = True


class FakeLearner:
    """Answers with given logits; learns, or raises what it is told to raise."""

    augments = False

    def __init__(
        self, logits: list[list[float]], *, predicting: Exception | None = None, learning: Exception | None = None
    ) -> None:
        self.updates = 0
        self.predictions = 0
        self.learned: list[Any] = []
        self._logits = torch.tensor(logits)
        self._predicting, self._learning = predicting, learning

    def predict(self, taps: Taps) -> Views:
        self.predictions += 1
        if self._predicting is not None:
            raise self._predicting
        return Views(logits=self._logits.clone(), features=self._logits.clone())

    def learn(self, taps: Taps, teacher: Views, **_options: Any) -> StepReport:
        if self._learning is not None:
            raise self._learning
        self.learned.append((taps, teacher))
        self.updates += 1
        return StepReport(loss=1.0, proximal=0.5, grad_norm=2.0)

    def snapshot(self) -> int:
        return self.updates

    def restore(self, state: int) -> None:
        self.updates = state

    def distance(self) -> TeacherDistance:
        return TeacherDistance(student_teacher=3.0, teacher_source=4.0)


FROZEN = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
ADAPTED = [[0.0, 0.0, 5.0], [0.0, 5.0, 0.0]]
# These answers are the same for ever, which a guard takes for a collapse.
SILENT = {"window": 4096, "warm_up": 4096}


def split(engine: FakeEngine, learner: FakeLearner | Learner) -> SplitMethod:
    return SplitMethod(engine, Adaptation(learner, guard=Guard(**SILENT)))  # type: ignore[arg-type]
