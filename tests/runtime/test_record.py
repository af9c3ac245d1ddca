from __future__ import annotations

import json
import math
import pickle

import numpy as np

from moase_edge.frames.frame import Frame
from moase_edge.report.plain import plain_json
from moase_edge.runtime.record import RunRecord
from moase_edge.runtime.result import Result
from tests.runtime.fakes import picture


def result(
    index: int,
    prediction: int | None = 0,
    *,
    frozen: int | None = 0,
    label: int | None = None,
    domain: str | None = None,
    adapted: bool = True,
    has_frozen_answer: bool = True,
) -> Result:
    logits = np.full(3, math.nan if prediction is None else 0, dtype=np.float32)
    return Result(
        frame=Frame(picture(0), index=index, captured_ns=0, label=label, domain=domain),
        logits=logits,
        frozen_logits=logits if has_frozen_answer else None,
        adapted=adapted,
        prediction=prediction,
        label=None,
        confidence=None,
        entropy=0.25,
        frozen_prediction=frozen if has_frozen_answer else None,
        timings_ms={},
        age_ms=1.0,
        timestamp_s=0.0,
    )


def test_answers_are_counted_by_origin_and_against_the_frozen_model() -> None:
    record = RunRecord()
    record.add_results([result(0, 1, frozen=0), result(1, 2, frozen=2, adapted=False)])
    record.add_results([result(2, None, frozen=None)])
    record.add_update(2, {"loss": 0.5})
    assert record.counts == {
        "frames": 3,
        "answered_adapted": 2,
        "answered_frozen": 1,
        "differs_from_frozen": 1,
        "frozen_unknown": 0,
        "unanswered": 1,
        "updates_deferred": 0,
        "updates": 1,
    }


def test_a_method_without_a_frozen_answer_differs_from_nothing() -> None:
    record = RunRecord()
    record.add_results([result(0, 1, has_frozen_answer=False, label=1)])
    assert record.counts["differs_from_frozen"] == 0
    assert record.counts["frozen_unknown"] == 1
    assert record.errors.frames == 1
    assert record.frozen_errors.frames == 0


def test_errors_are_counted_by_domain_for_the_answer_and_for_the_frozen_model() -> None:
    record = RunRecord()
    record.add_results(
        [result(0, 1, frozen=0, label=1, domain="clear"), result(1, 0, frozen=0, label=1, domain="fog")]
    )
    record.add_results([result(2, 1, frozen=1, label=1, domain="fog"), result(3, 1)])
    assert record.errors.by_domain() == {"clear": 0.0, "fog": 50.0}
    assert record.frozen_errors.by_domain() == {"clear": 100.0, "fog": 50.0}
    assert record.errors.frames == 3


def test_a_labelled_frame_without_an_answer_is_an_error() -> None:
    record = RunRecord()
    record.add_results([result(0, None, frozen=None, label=0), result(1, 0, label=0)])
    assert record.errors.overall() == 50.0
    assert record.frozen_errors.overall() == 50.0


def test_features_are_no_answer_and_no_error() -> None:
    features = result(0, 0, label=0)
    without_head = Result(**{**{n: getattr(features, n) for n in Result.__slots__}, "prediction": None})
    record = RunRecord()
    record.add_results([without_head])
    assert record.errors.frames == 0
    assert record.counts["unanswered"] == 0


def test_domains_are_marked_where_they_begin_also_when_they_return() -> None:
    record = RunRecord()
    for index, domain in enumerate(["a", "a", "b", None, "b", "a"]):
        record.add_results([result(index, domain=domain)])
    assert record.domain_marks == [(0.0, "a"), (2.0, "b"), (4.0, "b"), (5.0, "a")]


def test_only_so_many_domain_marks_are_kept() -> None:
    record = RunRecord()
    record.add_results([result(index, domain="ab"[index % 2]) for index in range(500)])
    assert len(record.domain_marks) == 200


def test_timings_are_kept_by_stage_in_the_order_of_the_stages() -> None:
    record = RunRecord()
    record.add_timings(0, {"total": 4.0, "engine": 1.0, "unheard-of": 9.0})
    record.add_timings(1, {"engine": 3.0, "total": 4.0, "age": 2.0})
    summaries = record.profile.summaries()
    assert list(summaries) == ["engine", "total", "age"]
    assert summaries["engine"].mean_ms == 2.0
    assert record.latency_traces["engine"].points().x.tolist() == [0.0, 1.0]
    assert record.shares() == {"engine": 0.5, "total": 1.0}


def test_an_update_leaves_its_figures_at_its_frame() -> None:
    record = RunRecord()
    record.add_update(4, {"loss": 0.5})
    record.add_update(9, {"loss": math.nan, "distance": 2.0})
    assert record.adaptation_traces["loss"].points().x.tolist() == [4.0]
    assert record.adaptation_traces["distance"].points().mean.tolist() == [2.0]
    assert record.counts["updates"] == 2


def test_a_summary_is_plain_json_also_of_an_empty_run() -> None:
    record = RunRecord()
    json.dumps(record.summary(), allow_nan=False)
    record.add_results([result(0, 1, label=1, domain="fog")])
    record.add_timings(0, {"engine": 1.0, "total": 2.0})
    summary = record.summary()
    assert json.loads(json.dumps(plain_json(summary), allow_nan=False)) == summary
    assert summary["error_percent"]["answered"] == {
        "mean_over_domains": 0.0,
        "overall": 0.0,
        "by_domain": {"fog": 0.0},
    }
    assert summary["latency_ms"]["engine"]["p50_ms"] == 1.0


def test_memory_does_not_grow_with_the_length_of_a_run() -> None:
    record = RunRecord()
    batch = [result(0, 1, label=1, domain="fog")]
    for index in range(50_000):
        record.add_results(batch)
        record.add_timings(index, {"engine": index % 7, "total": index % 9, "age": 1.0})
        record.add_update(index, {"loss": index % 5})
    assert record.counts["frames"] == 50_000
    # Five traces of up to 2000 points and three histograms; 50,000 values of each would be past 2 MB.
    assert len(pickle.dumps(record)) < 800_000
