"""How far one engine is from another, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from moase_edge.config.precision import ParityThresholds
from moase_edge.engines.deviation import Deviation, agreement_of, deviation_of, failures_of, median_error

THRESHOLDS = ParityThresholds(cosine=0.9, relative_error=0.1, gradients=0.1, top1_agreement=0.9)


def outputs(mid: list[float], out: list[float], logits: list[float]) -> dict[str, np.ndarray]:
    rows = {"mid": mid, "out": out, "logits": logits}
    return {
        name: np.array([[values]] if name != "logits" else [values], np.float32) for name, values in rows.items()
    }


def test_the_worse_tap_counts() -> None:
    expected = outputs([3, 4], [1, 0], [0, 1])
    found = deviation_of(outputs([3, 4], [0.6, 0.8], [0, 2]), expected, head=True)
    assert found.cosine == pytest.approx(0.6)
    assert found.relative_error == pytest.approx(np.hypot(0.4, 0.8))
    assert found.agrees is True


def test_engines_that_agree_deviate_by_nothing() -> None:
    same = outputs([1, 2], [3, 4], [5, 6])
    assert deviation_of(same, same, head=False) == Deviation(pytest.approx(1.0), 0.0, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_fails_everything(bad: float) -> None:
    found = deviation_of(outputs([1, bad], [1, 1], [0, 1]), outputs([1, 1], [1, 1], [0, 1]), head=True)
    assert found == Deviation(-1.0, np.inf, False)
    assert len(failures_of([found, found], THRESHOLDS)) == 3


def test_each_failure_names_its_figure_and_its_threshold() -> None:
    frames = [Deviation(0.8, 0.2, True), Deviation(0.99, 0.3, False), Deviation(0.99, 0.01, False)]
    assert failures_of(frames, THRESHOLDS) == [
        "taps: cosine 0.8000, at least 0.9",
        "taps: relative error 0.2, at most 0.1",
        "answers: 2 of 3 differ, 90% have to agree",
    ]
    assert (median_error(frames), agreement_of(frames)) == (0.2, pytest.approx(1 / 3))


def test_one_frame_of_few_may_answer_otherwise() -> None:
    frames = [Deviation(1.0, 0.0, index > 0) for index in range(4)]
    assert failures_of(frames, THRESHOLDS) == []
    assert agreement_of([Deviation(1.0, 0.0, None)]) is None
