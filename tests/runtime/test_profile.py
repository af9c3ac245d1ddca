from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from moase_edge.errors import ConfigError
from moase_edge.runtime.frame_times import FrameTimes
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.profile import MODES, Mode, Profile, profile
from moase_edge.runtime.profile_figures import csv_rows, figures, trace_events
from moase_edge.runtime.profile_report import (
    FRAMES,
    SUMMARY,
    TRACE,
    latency_table,
    ratio,
    summary_of,
    write_profile,
)
from moase_edge.runtime.record import STAGES
from moase_edge.runtime.stages import Stages
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of


def pipelines() -> tuple[dict[Mode, Pipeline], dict[Mode, LevelMethod]]:
    methods: dict[Mode, LevelMethod] = {mode: LevelMethod() for mode in MODES}
    adapt = {"frozen": "hold", "adapting": "every"}
    return {mode: pipeline_of(methods[mode], adapt=adapt[mode]) for mode in MODES}, methods


def timed(capture: float, total: float, engine: float) -> Stages:
    stages = Stages()
    stages.ran("capture", 0, int(capture * 1e6))
    stages.ran("engine", int(capture * 1e6), int((capture + engine) * 1e6))
    stages.ran("total", 0, int(total * 1e6))
    return stages


def profile_of(*frames: tuple[Mode, Stages], warm_up: int = 0) -> Profile:
    run = Profile(FrameTimes(max(len(frames), 1)))
    for number, (mode, stages) in enumerate(frames):
        run.times.add(MODES.index(mode), number, stages, warm_up=number < warm_up)
    return run


def test_windows_of_both_modes_take_turns_over_the_same_source() -> None:
    both, methods = pipelines()
    source = ListSource(frames(500))
    run = profile(both, source, window=5, warm_up=2, max_frames=40)
    times = run.times
    order = [MODES[mode] for mode in times.mode[4 : times.count]][:20]
    assert order == ["frozen"] * 5 + ["adapting"] * 10 + ["frozen"] * 5
    assert times.index[: times.count].tolist() == list(range(times.count))
    assert times.warm_up[: times.count].sum() == times.warm_up[:4].sum() == 4
    assert all(what == "predict" for what, _ in methods["frozen"].log)
    assert any(what == "learn" for what, _ in methods["adapting"].log)
    assert source.closed == 0
    assert len(run.rows("frozen")) == len(run.rows("adapting")) <= 20


def test_the_last_frame_of_a_window_does_not_count_the_other_mode_s_window() -> None:
    both, _ = pipelines()
    run = profile(both, ListSource(frames(60)), window=10, warm_up=0, max_frames=60)
    begin, end = (getattr(run.times, name)[: run.times.count] for name in ("begin_ns", "end_ns"))
    total, engine = STAGES.index("total"), STAGES.index("engine")
    assert (begin[:, total] <= begin[:, engine]).all()
    assert (end[:, engine] <= end[:, total]).all()
    assert (end[:-1].max(axis=1) <= begin[1:, total]).all()


def test_a_source_that_ends_early_is_what_there_is() -> None:
    both, _ = pipelines()
    run = profile(both, ListSource(frames(17)), window=5, warm_up=1, max_frames=100)
    assert run.ended == "the source ended"
    assert not run.steady
    assert [len(run.rows(mode)) for mode in MODES] == [5, 10]


@pytest.mark.parametrize("wrong", [{"window": 0}, {"warm_up": -1}, {"window": 10, "max_frames": 19}])
def test_numbers_that_give_no_window_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="cannot be profiled"):
        profile(pipelines()[0], ListSource(frames(1)), **{"window": 5, "warm_up": 0, "max_frames": 100, **wrong})


def test_figures_are_exact_percentiles_of_every_frame_after_the_warm_up() -> None:
    frames = [timed(10, 1000, 1), *(timed(10, 10 + busy, busy / 2) for busy in range(1, 101))]
    run = profile_of(*(("frozen", stages) for stages in frames), warm_up=1)
    of = figures(run)["frozen"]
    assert list(of) == ["capture", "engine", "total", "busy"]
    assert {name: of["busy"][name] for name in ("count", "p50", "p90", "p95", "p99", "max")} == pytest.approx(
        {"count": 100, "p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}
    )
    assert of["busy"]["jitter"] == pytest.approx(1.0)
    assert of["engine"]["mean"] == pytest.approx(25.25)
    assert figures(run)["adapting"] == {}


def test_the_ratio_is_of_medians_without_the_wait_for_the_frame() -> None:
    run = profile_of(("frozen", timed(90, 100, 1)), ("adapting", timed(1, 13, 1)))
    assert ratio(run) == pytest.approx(1.2)
    assert ratio(profile_of()) is None


def test_memory_grows_by_the_slope_of_the_windows() -> None:
    run = Profile(FrameTimes(1), memory=[(0, 100.0), (1000, 100.5), (2000, 101.0)])
    assert run.memory_slope_mib == pytest.approx(5.0)
    assert np.isnan(profile_of().memory_slope_mib)


def test_of_a_stage_that_ran_twice_the_trace_spans_both_and_the_time_is_their_sum() -> None:
    stages = Stages()
    stages.ran("engine", 1_000_000, 2_000_000)
    stages.ran("engine", 5_000_000, 7_000_000)
    times = profile_of(("adapting", stages)).times
    column = STAGES.index("engine")
    assert (times.begin_ns[0, column], times.end_ns[0, column]) == (1_000_000, 7_000_000)
    assert times.host_ms[0, column] == 3.0


def test_the_trace_nests_stages_in_their_frame_in_microseconds_from_the_first() -> None:
    stages = Stages()
    stages.ran("capture", 5_000_000, 6_000_000)
    stages.ran("engine", 6_000_000, 9_000_000)
    stages.ran("total", 5_000_000, 9_500_000)
    events = trace_events(profile_of(("adapting", stages)))["traceEvents"]
    slices = [(event["name"], event["tid"], event["ts"], event["dur"]) for event in events if event["ph"] == "X"]
    assert slices == [("frame", 2, 0.0, 4500.0), ("capture", 2, 0.0, 1000.0), ("engine", 2, 1000.0, 3000.0)]
    assert [event["args"]["name"] for event in events if event["name"] == "thread_name"] == ["frozen", "adapting"]


def test_rows_hold_every_frame_and_nothing_where_a_stage_did_not_run() -> None:
    first = timed(1, 3, 2)
    first.add("update", 0.5)
    header, *rows = csv_rows(profile_of(("frozen", first), ("adapting", timed(1, 4, 3)), warm_up=1))
    assert header == ["mode", "frame", "warm_up", "capture_ms", "engine_ms", "update_ms", "total_ms"]
    assert rows == [["frozen", 0, 1, 1.0, 2.0, 0.5, 3.0], ["adapting", 1, 0, 1.0, 3.0, "", 4.0]]


def test_columns_of_a_gpu_are_there_only_where_one_told_of_its_time() -> None:
    stages = timed(1, 3, 2)
    run = profile_of(("frozen", stages))
    host = figures(run)
    assert "GPU p50" not in latency_table("frozen", host, figures(run, on_device=True)).columns
    stages.add_device("engine", 1.5)
    run = profile_of(("frozen", stages))
    table = latency_table("frozen", host, figures(run, on_device=True))
    assert table.columns[-2:] == ["GPU p50", "GPU p99"]
    assert [row[-1] for row in table.rows if row[0] == "engine"] == [1.5]


def test_three_files_are_written(tmp_path: Path) -> None:
    both, _ = pipelines()
    run = profile(both, ListSource(frames(100)), window=5, warm_up=1, max_frames=20)
    summary = summary_of(run, {"engine": "fake"}, 3, ["a hint"])
    written = write_profile(tmp_path / "out", run, summary)
    assert [path.name for path in written] == [SUMMARY, FRAMES, TRACE]
    read = json.loads((tmp_path / "out" / SUMMARY).read_text())
    assert (read["engine"], read["dropped"], read["hints"]) == ("fake", 3, ["a hint"])
    assert set(read["latency_ms"]) == set(MODES)
    assert len((tmp_path / "out" / FRAMES).read_text().splitlines()) == run.times.count + 1
    assert json.loads((tmp_path / "out" / TRACE).read_text())["traceEvents"]
