from __future__ import annotations

import json
from time import perf_counter_ns

import numpy as np
import pytest

from moase_edge.frames.frame import Frame
from moase_edge.report.plain import plain_json
from moase_edge.runtime.result import Result
from tests.runtime.fakes import picture


def result(logits: list[float]) -> Result:
    return Result(
        frame=Frame(picture(0), index=7, captured_ns=perf_counter_ns(), name="a.png", label=2, domain="fog"),
        logits=np.array(logits, dtype=np.float32),
        frozen_logits=None,
        adapted=True,
        prediction=1,
        label="cat",
        confidence=0.75,
        entropy=0.5,
        frozen_prediction=None,
        timings_ms={"engine": 1.0},
        age_ms=3.5,
        timestamp_s=1.7e9,
    )


def test_a_record_holds_the_answer_as_plain_json() -> None:
    record = result([0, 1]).as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == {
        "frame": 7,
        "timestamp_s": 1.7e9,
        "name": "a.png",
        "domain": "fog",
        "truth": 2,
        "prediction": 1,
        "label": "cat",
        "confidence": 0.75,
        "entropy": 0.5,
        "frozen_prediction": None,
        "adapted": True,
        "age_ms": 3.5,
    }
    assert plain_json(record) == record


@pytest.mark.parametrize(
    ("logits", "unanswered"),
    [([0.0, 1.0], False), ([np.nan, 1.0], False), ([np.nan, np.inf], True), ([-np.inf, -np.inf], True)],
)
def test_a_result_without_one_finite_logit_is_unanswered(logits: list[float], unanswered: bool) -> None:
    assert result(logits).unanswered is unanswered
