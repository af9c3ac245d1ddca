"""Sources, methods and engines whose every number a test can foresee."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.frames.frame import Frame
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.source import Source, SourceCounts
from moase_edge.runtime.budget import UpdateBudget
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.scheduler import parse_schedule
from moase_edge.runtime.stages import Stages

SIZE_PX = 4
CLASSES = 3


def picture(level: int) -> NDArray[np.uint8]:
    """A grey picture that the preprocessor below turns into `level` / 255 everywhere."""
    return np.full((SIZE_PX, SIZE_PX, 3), level, dtype=np.uint8)


def preprocessor() -> Preprocessor:
    """Changes nothing but the range of values."""
    spec = PreprocessSpec(height=SIZE_PX, width=SIZE_PX, crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1))
    return Preprocessor(spec)


class ListSource(Source):
    """Gives the frames it was made of, then ends or raises."""

    def __init__(self, frames: list[Frame], *, failure: Exception | None = None) -> None:
        self.name = "list"
        self.live = False
        self.length: int | None = len(frames)
        self.counts = SourceCounts()
        self.closed = 0
        self._frames = frames
        self._failure = failure

    def frames(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.counts.count(frame.image, converted=False)
            yield frame
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self.closed += 1


def frames(count: int, *, labels: list[int] | None = None, domains: list[str] | None = None) -> list[Frame]:
    """`count` frames; frame i shows level i % 3."""
    return [
        Frame(
            image=picture(index % CLASSES),
            index=index,
            captured_ns=perf_counter_ns(),
            name=f"{index}.png",
            label=labels[index] if labels else None,
            domain=domains[index] if domains else None,
        )
        for index in range(count)
    ]


class LevelMethod:
    """Answers each picture with its level as the class, and writes down what happens to it.

    `log` holds ("predict", levels) and ("learn", levels), in order.
    """

    def __init__(self, *, has_frozen_answer: bool = True, update: Update | None = None) -> None:
        self.name = "levels"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0
        self.log: list[tuple[str, list[int]]] = []
        self.closed = False
        self._has_frozen_answer = has_frozen_answer
        self._update = {"loss": 0.5} if update is None else update

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        with stages.timed("engine"):
            levels = np.rint(255 * images.mean(axis=(1, 2, 3))).astype(int)
        self.log.append(("predict", levels.tolist()))
        logits = np.eye(CLASSES, dtype=np.float32)[levels]
        frozen = logits.copy() if self._has_frozen_answer else None
        return Prediction(logits, frozen, np.ones(len(images), dtype=bool), memory=levels.tolist())

    def learn(self, prediction: Prediction) -> Update | None:
        assert isinstance(prediction.memory, list)
        self.log.append(("learn", prediction.memory))
        return self._update

    def close(self) -> None:
        self.closed = True


class LogitsMethod(LevelMethod):
    """Answers with given rows, whatever it is shown."""

    def __init__(self, logits: list[list[float]], frozen: list[list[float]] | None = None) -> None:
        super().__init__()
        self._logits = np.array(logits, dtype=np.float32)
        self._frozen = None if frozen is None else np.array(frozen, dtype=np.float32)

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        return Prediction(self._logits, self._frozen, np.zeros(len(images), dtype=bool), memory=[])


def pipeline_of(
    method: LevelMethod,
    *,
    adapt: str = "every",
    labels: list[str] | None = None,
    classes: int | None = CLASSES,
    budget_ms: float | None = None,
) -> Pipeline:
    """A pipeline around a fake method."""
    budget = None if budget_ms is None else UpdateBudget(budget_ms)
    return Pipeline(method, preprocessor(), parse_schedule(adapt), budget=budget, labels=labels, classes=classes)
