"""A cell's record, with a method whose answers are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.bench.cells import Measured, run_cell
from moase_edge.bench.latency_aware import LatencyAware
from moase_edge.data.labelled import LabelledImage
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.metrics.cell import NO_ANSWER
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.scheduler import Timing, parse_schedule
from moase_edge.runtime.stages import Stages

SPEC = PreprocessSpec(height=4, width=4, crop_pct=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CLASSES = 3


class ReadsTheFrame:
    """Answers the class that is written into the frame's grey level; learns by counting."""

    name = "reads the frame"

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        self.rollbacks = 0
        self.learned: list[int] = []
        self.closed = False

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        with stages.timed("engine"):
            classes = np.rint(images[:, 0, 0, 0] * 255).astype(int) % CLASSES
        logits = np.eye(CLASSES, dtype=np.float32)[classes] * 10
        return Prediction(logits, None, np.ones(len(images), dtype=bool), memory=len(images))

    def learn(self, prediction: Prediction) -> Update | None:
        self.learned.append(len(prediction.logits))
        return {"loss": 0.0}

    def close(self) -> None:
        self.closed = True


def frames(count: int) -> list[LabelledImage]:
    """Frame i shows class i % 3; every fourth frame is labelled as the next class, so it counts as wrong."""
    return [
        LabelledImage(
            image=np.full((4, 4, 3), index, dtype=np.uint8),
            label=(index + (index % 4 == 3)) % CLASSES,
            domain="first" if index < count // 2 else "second",
            picture=index // 2,
            time=float(index),
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_record_holds_each_frame_s_answer_label_domain_and_picture(batch_size: int) -> None:
    record, _ = run_cell(
        ReadsTheFrame(), frames(8), Preprocessor(SPEC), parse_schedule("every"), batch_size=batch_size
    )
    assert record.prediction.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert record.wrong.tolist() == [False, False, False, True] * 2
    assert record.domains == ("first", "second")
    assert record.domain.tolist() == [0] * 4 + [1] * 4
    assert record.picture.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert record.frozen_prediction is None
    assert record.adapted.all()


@pytest.mark.parametrize(
    ("schedule", "batch_size", "updated"),
    [
        (parse_schedule("every"), 1, [0, 1, 2, 3, 4, 5, 6, 7]),
        (parse_schedule("every"), 3, [2, 5, 7]),
        (parse_schedule("every-3"), 1, [0, 3, 6]),
        (parse_schedule("hold"), 1, []),
        (LatencyAware(3.0), 1, [0, 3, 6]),
    ],
)
def test_updates_are_marked_after_the_frame_they_followed(
    schedule: Timing, batch_size: int, updated: list[int]
) -> None:
    method = ReadsTheFrame()
    record, _ = run_cell(method, frames(8), Preprocessor(SPEC), schedule, batch_size=batch_size)
    assert np.flatnonzero(record.updated).tolist() == updated
    assert len(method.learned) == len(updated)


def test_what_was_measured_counts_engine_sidecar_and_update_a_frame() -> None:
    _, measured = run_cell(ReadsTheFrame(), frames(8), Preprocessor(SPEC), parse_schedule("every"), batch_size=4)
    assert measured.ms_by_stage["engine"] > 0
    assert Measured({"engine": 2.0, "sidecar": 0.5, "update": 1.0, "total": 9.0}, None).ms_per_frame == 3.5


def test_frames_are_answered_once_and_in_order_whatever_the_method_s_cost() -> None:
    record, _ = run_cell(ReadsTheFrame(), frames(8), Preprocessor(SPEC), LatencyAware(36.0), batch_size=1)
    assert len(record) == 8
    assert record.updated.sum() == 1


class AskedEverySecondTime(ReadsTheFrame):
    """Knows the frozen answer, which is always class 0, of every second frame."""

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        prediction = super().predict(images, stages)
        frozen = np.tile(np.array([1, 0, 0], dtype=np.float32), (len(images), 1))
        frozen[1::2] = np.nan
        return replace(prediction, frozen_logits=frozen)


def test_a_frozen_answer_that_was_not_asked_for_is_none() -> None:
    record, _ = run_cell(
        AskedEverySecondTime(), frames(4), Preprocessor(SPEC), parse_schedule("hold"), batch_size=4
    )
    assert record.frozen_prediction is not None
    assert record.frozen_prediction.tolist() == [0, NO_ANSWER, 0, NO_ANSWER]
