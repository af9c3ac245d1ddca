from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.ranges import WatchedEngine
from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.live import LiveSource
from moase_edge.report.files import RotatingJsonl
from moase_edge.runtime.method import Prediction
from moase_edge.runtime.stages import Stages
from tests.frames.test_live import Script, grabbed
from tests.runtime.fakes import LevelMethod, ListSource, LogitsMethod, frames, picture, pipeline_of
from tests.runtime.steered import SteerableEngine


def test_a_result_is_handed_out_before_anything_is_learned_from_its_frame() -> None:
    method = LevelMethod()
    results = pipeline_of(method).run(ListSource(frames(2)))
    assert next(results).prediction == 0
    assert method.log == [("predict", [0])]
    assert next(results).prediction == 1
    assert method.log == [("predict", [0]), ("learn", [0]), ("predict", [1])]
    assert next(results, None) is None
    assert method.log[-1] == ("learn", [1])


@pytest.mark.parametrize(
    ("adapt", "learned"),
    [("every", [0, 1, 2, 0, 1]), ("every-2", [0, 2, 1]), ("every-9", [0]), ("hold", []), ("off", [])],
)
def test_the_schedule_says_what_is_learned_from(adapt: str, learned: list[int]) -> None:
    method = LevelMethod()
    pipeline = pipeline_of(method, adapt=adapt)
    assert len(list(pipeline.run(ListSource(frames(5))))) == 5
    assert [level for what, levels in method.log if what == "learn" for level in levels] == learned
    assert pipeline.record.counts["updates"] == len(learned)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 12), size=st.integers(1, 5), limit=st.none() | st.integers(1, 14))
def test_every_frame_is_answered_once_in_order_in_batches_with_a_short_last_one(
    count: int, size: int, limit: int | None
) -> None:
    method = LevelMethod()
    source = ListSource(frames(count))
    results = list(pipeline_of(method).run(source, batch_size=size, max_frames=limit))
    answered = min(count, limit or count)
    assert [result.frame.index for result in results] == list(range(answered))
    assert [result.prediction for result in results] == [index % 3 for index in range(answered)]
    sizes = [len(levels) for what, levels in method.log if what == "predict"]
    assert sizes == [size] * (answered // size) + [answered % size] * bool(answered % size)
    assert [what for what, _ in method.log] == ["predict", "learn"] * len(sizes)
    assert source.counts.delivered == answered
    assert source.closed == 1


class Rerunning(LevelMethod):
    """Runs every batch once more to answer it, and again to learn from it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        self._engine.run(images), self._engine.run(images)
        return super().predict(images, stages)

    def learn(self, prediction: Prediction) -> dict[str, float]:
        self._engine.run(np.zeros((1, 3, 4, 4), np.float32))
        return {}


def test_the_ranges_of_an_int8_engine_are_watched_once_a_frame_however_often_it_is_run() -> None:
    engine = WatchedEngine(SteerableEngine(), {"images": (0.0, 1 / 255)})
    pipeline = pipeline_of(Rerunning(engine))
    pipeline._watched = engine
    list(pipeline.run(ListSource(frames(8)), batch_size=3))  # levels 0, 1, 2, 0, ...
    assert pipeline.outside_the_ranges() == {"frames outside the calibrated range of images": 2}
    assert engine.frames == 8


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"max_frames": 0}, {"batch_size": -1}, {"max_frames": -3}])
def test_numbers_that_are_not_positive_are_refused_before_anything_is_opened(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        pipeline_of(LevelMethod()).run("no such file", **wrong)


def test_stop_ends_the_run_after_the_batch_at_hand_and_learns_from_it() -> None:
    method, source = LevelMethod(), ListSource(frames(9))
    pipeline = pipeline_of(method)
    answered = []
    for result in pipeline.run(source, batch_size=2):
        answered.append(result.frame.index)
        if result.frame.index == 2:
            pipeline.stop()
    assert answered == [0, 1, 2, 3]
    assert method.log[-1] == ("learn", [2, 0])
    assert pipeline.stopping
    assert source.closed == 1


def test_stop_ends_a_wait_for_a_live_source_too() -> None:
    source = LiveSource("camera:0", Script([grabbed(0)]), SourceSettings())
    pipeline = pipeline_of(LevelMethod())
    results = pipeline.run(source)
    next(results)
    threading.Timer(0.01, pipeline.stop).start()
    assert list(results) == []  # its only frame was taken: it would wait for ever
    assert pipeline.stopping


def test_a_stopped_pipeline_runs_again() -> None:
    pipeline = pipeline_of(LevelMethod())
    pipeline.stop()
    assert len(list(pipeline.run(ListSource(frames(3))))) == 3
    assert not pipeline.stopping


def test_closing_the_iterator_closes_the_source_and_keeps_the_answered_frame() -> None:
    source = ListSource(frames(5))
    pipeline = pipeline_of(LevelMethod())
    results = pipeline.run(source)
    next(results)
    assert source.closed == 0
    results.close()
    assert source.closed == 1
    assert pipeline.record.counts["frames"] == 1
    assert pipeline.record.profile.summaries()["total"].count == 1


def test_an_exhausted_source_gives_an_empty_run() -> None:
    source = ListSource([])
    pipeline = pipeline_of(LevelMethod())
    assert list(pipeline.run(source)) == []
    assert pipeline.record.counts["frames"] == 0
    assert pipeline.record.profile.summaries() == {}
    assert source.closed == 1


def test_frames_that_came_before_a_source_was_lost_are_answered() -> None:
    source = ListSource(frames(5), failure=SourceError("source lost: camera:0"))
    method = LevelMethod()
    results = pipeline_of(method).run(source, batch_size=3)
    assert [next(results).frame.index for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(SourceError, match="source lost"):
        next(results)
    assert method.log[-1] == ("learn", [0, 1])
    assert source.closed == 1


def test_a_frame_that_cannot_be_prepared_is_named() -> None:
    needle = replace(frames(3)[2], image=np.zeros((2**23, 1, 3), np.uint8))
    with pytest.raises(SourceError, match=r"^frame 2 \(2\.png\): .*too elongated"):
        list(pipeline_of(LevelMethod()).run(ListSource([*frames(2), needle])))


class RememberingMethod(LevelMethod):
    """Counts what it answers, and writes down where a run begins."""

    def counts(self) -> dict[str, int]:
        return {"answered": sum(what == "predict" for what, _ in self.log)}

    def start_run(self) -> None:
        self.log.append(("start", []))


def test_each_run_tells_the_method_that_it_begins_and_counts_what_happened_in_it_alone() -> None:
    method = RememberingMethod()
    pipeline = pipeline_of(method)
    assert pipeline.counted.events == {"answered": 0}
    for frames_shown in (3, 2):
        method.failures["learner: MemoryError"] = method.failures.get("learner: MemoryError", 0) + 4
        list(pipeline.run(ListSource(frames(frames_shown))))
        method.failures["sidecar: ValueError"] = frames_shown
        assert pipeline.counted.events == {"answered": frames_shown}
    assert [what for what, _ in method.log].count("start") == 2
    assert method.log[0] == ("start", [])
    # Three in the first run, two in all since: none of the second one's.
    method.failures["sidecar: ValueError"] = 5
    assert pipeline.counted.failures == {"sidecar: ValueError": 2}


def test_the_record_is_fresh_for_each_run_and_the_method_is_not() -> None:
    method = LevelMethod()
    pipeline = pipeline_of(method)
    list(pipeline.run(ListSource(frames(4))))
    first = pipeline.record
    list(pipeline.run(ListSource(frames(2))))
    assert pipeline.record is not first
    assert (first.counts["frames"], pipeline.record.counts["frames"]) == (4, 2)
    assert len(method.log) == 12
    pipeline.close()
    assert method.closed


def test_every_stage_is_timed_and_the_total_covers_them(tmp_path: Path) -> None:
    pipeline = pipeline_of(LevelMethod(), adapt="every-2")
    with RotatingJsonl(tmp_path) as journal:
        results = list(pipeline.run(ListSource(frames(6)), journal=journal))
    assert all(list(result.timings_ms) == ["capture", "preprocess", "engine"] for result in results)
    lines = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    for index, line in enumerate(lines):
        timings = line["timings_ms"]
        parts = {"capture", "preprocess", "engine", "emit"} | ({"update"} if index % 2 == 0 else set())
        assert set(timings) == parts | {"total", "age"}
        assert all(ms >= 0 for ms in timings.values())
        assert timings["total"] >= sum(timings[part] for part in parts) - 1e-6
        assert timings["age"] >= timings["preprocess"] + timings["engine"]
        assert line["age_ms"] == timings["age"]
        assert line["update"] == ({"loss": 0.5} if index % 2 == 0 else None)
    counts = {stage: summary.count for stage, summary in pipeline.record.profile.summaries().items()}
    assert counts == {"capture": 6, "preprocess": 6, "engine": 6, "emit": 6, "update": 3, "total": 6, "age": 6}


def test_the_time_of_a_learner_that_learned_nothing_is_no_update() -> None:
    class Failed(LevelMethod):
        def learn(self, prediction: object) -> None:
            return None

    pipeline = pipeline_of(Failed())
    list(pipeline.run(ListSource(frames(3))))
    assert "update" not in pipeline.record.profile.summaries()
    assert pipeline.record.counts["updates"] == 0


def test_the_time_that_the_consumer_takes_is_emission() -> None:
    pipeline = pipeline_of(LevelMethod())
    for _ in pipeline.run(ListSource(frames(1))):
        until_ns = perf_counter_ns() + 3_000_000
        while perf_counter_ns() < until_ns:
            continue
    summaries = pipeline.record.profile.summaries()
    assert 3 <= summaries["emit"].mean_ms <= summaries["total"].mean_ms


def test_a_run_over_labelled_frames_counts_errors_by_domain() -> None:
    pipeline = pipeline_of(LevelMethod())
    labelled = frames(4, labels=[0, 1, 0, 1], domains=["clear", "clear", "fog", "fog"])
    list(pipeline.run(ListSource(labelled)))
    assert pipeline.record.errors.by_domain() == {"clear": 0.0, "fog": 100.0}


def test_a_result_says_what_the_logits_say() -> None:
    method = LogitsMethod([[0.0, 2.0, 0.0]], [[1.0, 0.0, 0.0]])
    (result,) = pipeline_of(method, labels=["cat", "dog", "cow"]).run(ListSource(frames(1)))
    weights = np.exp([0.0, 2.0, 0.0])
    shares = weights / weights.sum()
    assert (result.prediction, result.label, result.frozen_prediction) == (1, "dog", 0)
    assert result.confidence == pytest.approx(shares[1], rel=1e-6)
    assert result.entropy == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-6)
    assert result.logits.tolist() == [0, 2, 0]


def test_without_a_head_there_are_features_and_no_answer() -> None:
    method = LogitsMethod([[0.5, -0.5]], [[0.5, 0.5]])
    pipeline = pipeline_of(method, classes=0)
    (result,) = pipeline.run(ListSource(frames(1, labels=[1])))
    assert result.logits.tolist() == [0.5, -0.5]
    answer = (result.prediction, result.label, result.confidence, result.entropy, result.frozen_prediction)
    assert answer == (None,) * 5
    assert pipeline.record.counts["unanswered"] == 0
    assert pipeline.record.errors.frames == 0


@pytest.mark.parametrize(
    ("logits", "prediction"),
    [
        ([np.nan, 1.0, 2.0], 2),
        ([np.inf, 1.0, 0.0], 1),
        ([-np.inf, -np.inf, -3.0], 2),
        ([np.nan, np.nan, np.nan], None),
        ([-np.inf, -np.inf, -np.inf], None),
        ([np.nan, np.inf, -np.inf], None),
    ],
)
def test_logits_that_are_not_finite_give_the_largest_finite_or_no_answer(
    logits: list[float], prediction: int | None, tmp_path: Path
) -> None:
    pipeline = pipeline_of(LogitsMethod([logits], [logits]), labels=["a", "b", "c"])
    with RotatingJsonl(tmp_path) as journal:
        (result,) = pipeline.run(ListSource(frames(1)), journal=journal)
    assert (result.prediction, result.frozen_prediction) == (prediction, prediction)
    assert result.label == (None if prediction is None else "abc"[prediction])
    assert result.confidence is None or 0 <= result.confidence <= 1
    assert pipeline.record.counts["unanswered"] == (prediction is None)
    (line,) = (tmp_path / "frames.jsonl").read_text().splitlines()
    assert "NaN" not in line
    assert "Infinity" not in line


class SteeredMethod(LogitsMethod):
    """Answers adapted; the frozen model was asked about rows that are not NaN."""

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        return replace(super().predict(images, stages), adapted=np.ones(len(images), dtype=bool))


def test_of_a_frame_whose_frozen_answer_was_not_asked_for_there_is_none(tmp_path: Path) -> None:
    method = SteeredMethod([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], [[np.nan] * 3, [0.0, 1.0, 0.0]])
    pipeline = pipeline_of(method)
    with RotatingJsonl(tmp_path) as journal:
        steered, plain = pipeline.run(ListSource(frames(2, labels=[2, 1])), batch_size=2, journal=journal)
    assert (steered.prediction, steered.frozen_logits, steered.frozen_prediction) == (2, None, None)
    assert (plain.prediction, plain.frozen_prediction) == (0, 1)
    assert plain.frozen_logits is not None
    assert not plain.frozen_logits.flags.writeable
    counts = pipeline.record.counts
    assert (counts["differs_from_frozen"], counts["frozen_unknown"]) == (1, 1)
    assert (pipeline.record.errors.frames, pipeline.record.frozen_errors.frames) == (2, 1)
    lines = (tmp_path / "frames.jsonl").read_text().splitlines()
    assert [json.loads(line)["frozen_prediction"] for line in lines] == [None, 1]
    assert not any("NaN" in line for line in lines)


def test_a_frozen_model_that_overflows_is_known_to_have_no_answer() -> None:
    pipeline = pipeline_of(LogitsMethod([[np.nan] * 3], [[np.nan] * 3]))
    (result,) = pipeline.run(ListSource(frames(1, labels=[1])))
    assert result.frozen_logits is not None
    assert (pipeline.record.counts["frozen_unknown"], pipeline.record.frozen_errors.overall()) == (0, 100.0)


def test_a_consumer_cannot_change_what_is_learned_from() -> None:
    (result,) = pipeline_of(LogitsMethod([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])).run(ListSource(frames(1)))
    assert result.frozen_logits is not None
    for logits in (result.logits, result.frozen_logits):
        with pytest.raises(ValueError, match="read-only"):
            logits[0] = 1


def test_the_age_counts_from_the_frame_s_arrival_and_the_time_is_the_clock_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from moase_edge.runtime import results as module

    (frame,) = frames(1)
    monkeypatch.setattr(module, "perf_counter_ns", lambda: frame.captured_ns + 250_000_000)
    monkeypatch.setattr(module, "time", lambda: 1000.0)
    (result,) = pipeline_of(LevelMethod()).run(ListSource([frame]))
    assert result.age_ms == 250.0
    assert result.timestamp_s == 999.75


@pytest.mark.parametrize("wrong", [[picture(0)], picture(0), 0, None])
def test_what_is_no_source_is_refused_with_what_is_one(wrong: object) -> None:
    with pytest.raises(ConfigError, match=rf"takes a file, .*; got {type(wrong).__name__}\."):
        pipeline_of(LevelMethod()).run(wrong)  # type: ignore[arg-type]


def test_a_path_is_opened_as_its_text_is(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no file or folder .*gone\.mp4"):
        list(pipeline_of(LevelMethod()).run(tmp_path / "gone.mp4"))
