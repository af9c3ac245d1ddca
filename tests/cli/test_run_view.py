"""The line of progress and the final figures."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pytest

from moase_edge.cli import run_view
from moase_edge.cli.run_view import RunView
from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import RunReport
from tests.runtime.fakes import LevelMethod, ListSource, frames, picture, pipeline_of


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def frequent_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 120 columns that every frame refreshes."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(run_view, "_REFRESHES_PER_S", 10**6)


def pipeline_with_facts(labels: list[str] | None = None) -> Pipeline:
    pipeline = pipeline_of(LevelMethod(), labels=labels)
    pipeline.facts = {"artifact": "artifacts/[x]", "engine": "fake engine"}
    return pipeline


def result(index: int, label: str | None = "cat") -> Result:
    return Result(
        frame=Frame(picture(0), index=index, captured_ns=perf_counter_ns()),
        logits=np.zeros(3, dtype=np.float32),
        frozen_logits=None,
        adapted=True,
        prediction=1,
        label=label,
        confidence=0.875,
        entropy=0.5,
        frozen_prediction=None,
        timings_ms={},
        age_ms=12.4,
        timestamp_s=0.0,
    )


def shown_on_terminal(source: Source, *, frames: int | None, label: str = "cat") -> tuple[str, str]:
    """All that standard error shows while three frames are answered, and its last line."""
    with redirect_stderr(Terminal()) as terminal:
        view = RunView(pipeline_with_facts(), source, frames=frames, answers_on_stdout=False)
        with view:
            for index in range(3):
                view.show(result(index, label))
            view._progress.refresh()
            shown = terminal.getvalue()
    return shown, shown.replace("\r", "\n").splitlines()[-1]


def test_the_line_shows_progress_rate_time_left_and_the_latest_answer() -> None:
    _, line = shown_on_terminal(ListSource([]), frames=10)
    assert "list" in line
    assert "3/10" in line
    assert " fps" in line
    assert "left" in line
    assert "cat 88 %" in line


def test_a_live_source_shows_age_and_dropped_frames_and_no_end() -> None:
    source = ListSource([])
    source.live, source.length = True, None
    source.counts.dropped = 7
    _, line = shown_on_terminal(source, frames=None)
    assert "3 frames" in line
    assert "age 12 ms, 7 dropped" in line
    assert "left" not in line


def test_an_outage_is_shown_while_it_lasts_and_counted_afterwards() -> None:
    source = ListSource([])
    source.live, source.length = True, None
    source.trouble = "source lost 3 s ago, tried again in 2 s"
    source.counts.reopened = 2
    _, line = shown_on_terminal(source, frames=None)
    assert "source lost 3 s ago, tried again in 2 s" in line
    assert "age 12 ms, 2 times lost" in line
    source.trouble = None
    _, line = shown_on_terminal(source, frames=None)
    assert "ago" not in line


def test_names_are_shortened_and_never_read_as_markup() -> None:
    source = ListSource([])
    source.name = "/a/very/long/way/to/a/video/called/[red]holiday.mp4"
    shown, line = shown_on_terminal(source, frames=None, label="[bold]" + "x" * 40)
    assert "…called/[red]holiday.mp4" in line
    assert "[bold]" + "x" * 18 + " 88 %" in line
    assert "artifact artifacts/[x]" in shown
    assert source.name in shown


def test_the_choice_among_several_artifacts_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = pipeline_with_facts()
    pipeline.facts["artifact_choice"] = "the newest of 3 under artifacts/"
    with RunView(pipeline, ListSource([]), frames=10, answers_on_stdout=False):
        pass
    assert "artifact artifacts/[x] (the newest of 3 under artifacts/)\n" in capsys.readouterr().err


def test_without_a_terminal_there_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with RunView(pipeline_with_facts(), ListSource([]), frames=10, answers_on_stdout=False) as view:
        view.show(result(0))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split()[0] for line in shown.err.splitlines()] == ["artifact", "engine", "source", "adapt"]


def test_answers_on_the_same_terminal_are_not_mixed_with_progress() -> None:
    with redirect_stdout(Terminal()), redirect_stderr(Terminal()) as terminal:
        with RunView(pipeline_with_facts(), ListSource([]), frames=10, answers_on_stdout=True) as view:
            view.show(result(0))
        assert "adapt    every" in terminal.getvalue()
        assert "/10" not in terminal.getvalue()


def test_the_end_shows_figures_and_the_report_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = pipeline_with_facts()
    list(pipeline.run(ListSource(frames(4, labels=[0, 1, 0, 0], domains=["clear", "clear", "fog", "fog"]))))
    report = RunReport("t", "the source ended", {}, {"dropped": 2}, {"learner: MemoryError": 1}, 0, {})
    view = RunView(pipeline, ListSource([]), frames=4, answers_on_stdout=False)
    view.finish(tmp_path, report)
    shown = capsys.readouterr().out
    assert "Error by domain (%)" in shown
    assert "Latency (ms)" in shown
    assert "Frames: 4;" in shown
    assert "Beware: dropped: 2, learner: MemoryError: 1." in shown
    assert "Most frequent answers: class 0 50 % (2), class 1 25 % (1), class 2 25 % (1)." in shown
    assert "Speed (median): " in shown
    assert "report:" not in shown
    (tmp_path / "report.html").write_text("")
    view.finish(tmp_path, report)
    assert f"report: {tmp_path / 'report.html'}" in capsys.readouterr().out


def test_the_end_of_a_run_without_a_frame_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = RunReport("t", "an error stopped it: lost", {}, {}, {}, 0, {})
    RunView(pipeline_with_facts(), ListSource([]), frames=None, answers_on_stdout=False).finish(tmp_path, report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "It ended because an error stopped it: lost."
    assert len(lines) == 2
