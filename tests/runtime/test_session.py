"""A run from its first frame to its report, on fakes: what is written, and what happens when something fails."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moase_edge.errors import ConfigError, EngineError, SourceError, StorageError
from moase_edge.frames.source import Source
from moase_edge.runtime import run_report, session
from moase_edge.runtime.emit import ConsumerGone
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import RunReport
from moase_edge.runtime.session import (
    RunOutcome,
    new_report_folder,
    prepare_report_folder,
    refuse_report_folder,
    run_and_report,
)
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than all else here; they have their own tests."""
    monkeypatch.setattr(run_report, "plots_missing", lambda: "There are no plots in this test.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare_report_folder(tmp_path / "report", force=False)
    return tmp_path / "report"


def run(
    folder: Path,
    source: Source | None = None,
    *,
    pipeline: Pipeline | None = None,
    on_result: Callable[[Result], None] = lambda result: None,
    **arguments: Any,
) -> RunOutcome:
    return run_and_report(
        pipeline or pipeline_of(LevelMethod()),
        source or ListSource(frames(4)),
        folder,
        facts={"artifact": "fake", "seed": 3},
        on_result=on_result,
        **arguments,
    )


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def journal_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def test_a_run_leaves_journal_summary_and_page(folder: Path) -> None:
    outcome = run(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["frames.jsonl", "report.html", "summary.json"]
    assert [line["frame"] for line in journal_of(folder)] == [0, 1, 2, 3]
    summary = summary_of(folder)
    assert (summary["ended"], outcome.ended) == ("the source ended",) * 2
    assert summary["counts"]["frames"] == 4
    assert summary["source"] == "list"
    assert summary["source_counts"]["delivered"] == 4
    assert (summary["artifact"], summary["seed"], summary["adapt"], summary["batch_size"]) == (
        "fake",
        3,
        "every",
        1,
    )
    assert summary["duration_s"] >= 0
    assert summary["started_at"].endswith("+00:00")
    assert summary["machine"]["cores"] >= 1
    assert "It ended because the source ended." in (folder / "report.html").read_text()


def test_each_result_is_handed_over_before_it_is_learned_from(folder: Path) -> None:
    method = LevelMethod()
    seen: list[int] = []

    def look(result: Result) -> None:
        assert method.log[-1][0] == "predict"
        seen.append(result.frame.index)

    run(folder, pipeline=pipeline_of(method), on_result=look)
    assert seen == [0, 1, 2, 3]


def test_the_number_of_frames_that_was_asked_for_ends_a_run(folder: Path) -> None:
    assert run(folder, max_frames=2).ended == "2 frames were asked for"
    assert len(journal_of(folder)) == 2


def test_stop_ends_a_run_as_interrupted(folder: Path) -> None:
    pipeline = pipeline_of(LevelMethod())
    outcome = run(folder, pipeline=pipeline, on_result=lambda result: pipeline.stop())
    assert outcome.ended == summary_of(folder)["ended"] == "it was interrupted"
    assert len(journal_of(folder)) == 1


def test_a_consumer_that_goes_away_ends_a_run_without_an_error(folder: Path) -> None:
    def leave(result: Result) -> None:
        if result.frame.index == 1:
            raise ConsumerGone

    source = ListSource(frames(4))
    assert run(folder, source, on_result=leave).ended == "the reader of the answers went away"
    assert [line["update"] is None for line in journal_of(folder)] == [False, True]
    assert source.closed == 1


def test_a_lost_source_is_reported_before_it_is_raised(folder: Path) -> None:
    ended: list[RunReport] = []
    source = ListSource(frames(3), failure=SourceError("source lost: camera:0."))
    with pytest.raises(SourceError, match="source lost"):
        run(folder, source, on_end=ended.append)
    summary = summary_of(folder)
    assert summary["ended"] == "an error stopped it: source lost: camera:0."
    assert summary["counts"]["frames"] == 3
    assert [report.ended for report in ended] == [summary["ended"]]
    assert "source lost: camera:0.</p>" in (folder / "report.html").read_text()


def test_an_engine_that_fails_ends_the_run_with_the_report_written(folder: Path) -> None:
    class Failing(LevelMethod):
        def predict(self, images: Any, stages: Any) -> Any:
            if len(self.log) == 4:
                raise EngineError("the engine failed")
            return super().predict(images, stages)

    with pytest.raises(EngineError, match="the engine failed"):
        run(folder, pipeline=pipeline_of(Failing()))
    assert summary_of(folder)["counts"]["frames"] == 2
    assert len(journal_of(folder)) == 2


def test_an_exception_that_nobody_foresaw_is_raised_after_the_report(folder: Path) -> None:
    def fail(result: Result) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(folder, on_result=fail)
    assert summary_of(folder)["ended"] == "an error stopped it: ZeroDivisionError()"


def test_an_error_outranks_a_stop_and_a_full_count(folder: Path) -> None:
    pipeline = pipeline_of(LevelMethod())
    source = ListSource(frames(2), failure=SourceError("lost"))

    def stop(result: Result) -> None:
        if result.frame.index == 1:
            pipeline.stop()

    with pytest.raises(SourceError):
        run(folder, source, pipeline=pipeline, on_result=stop, batch_size=3)
    assert summary_of(folder)["ended"] == "an error stopped it: lost"


def test_a_run_without_a_frame_has_a_report_too(folder: Path) -> None:
    assert run(folder, ListSource([])).ended == "the source ended"
    assert summary_of(folder)["counts"]["frames"] == 0
    assert (folder / "report.html").exists()


def test_a_full_disk_costs_journal_lines_and_no_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, written = os.write, 0

    def fills_up(descriptor: int, data: Any) -> int:
        nonlocal written
        written += 1
        if 2 <= written <= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", fills_up)
    answered: list[int] = []
    run(folder, ListSource(frames(6)), on_result=lambda result: answered.append(result.frame.index))
    assert answered == [0, 1, 2, 3, 4, 5]
    assert [line["frame"] for line in journal_of(folder)] == [0, 4, 5]
    assert summary_of(folder)["journal_lines_lost"] == 3
    assert "journal lines lost: 3" in (folder / "report.html").read_text()
    assert len([record for record in caplog.records if "journal" in record.getMessage()]) == 1


def test_a_report_that_cannot_be_written_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "write_report", refuse_to_write)
    ended: list[RunReport] = []
    with pytest.raises(StorageError, match="no space"):
        run(folder, on_end=ended.append)
    assert len(ended) == 1


def test_a_report_that_cannot_be_written_does_not_hide_what_ended_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "write_report", refuse_to_write)
    with pytest.raises(SourceError, match="lost"):
        run(folder, ListSource(frames(1), failure=SourceError("lost")))
    assert "no space" in caplog.text


def refuse_to_write(*arguments: object) -> None:
    raise StorageError("no space")


def test_a_new_folder_is_marked_as_a_report_until_the_run_ends(folder: Path) -> None:
    assert summary_of(folder) == {"ended": None}


def test_a_folder_that_exists_is_refused_and_an_empty_one_is_not(folder: Path, tmp_path: Path) -> None:
    run(folder)
    for refuse in (prepare_report_folder, refuse_report_folder):
        with pytest.raises(ConfigError, match="--force"):
            refuse(folder, force=False)
    assert len(journal_of(folder)) == 4
    (tmp_path / "empty").mkdir()
    refuse_report_folder(tmp_path / "empty", force=False)
    prepare_report_folder(tmp_path / "empty", force=False)


def test_force_removes_what_runs_write_and_nothing_else(folder: Path) -> None:
    ours = ["frames.jsonl", "frames.1.jsonl", "frames.12.jsonl", "report.html"]
    ours += ["latency.png", "adaptation.png", "errors.png"]
    foreign = [
        "notes.txt",
        "photo.png",
        "frames-of-mine.jsonl",
        "frames.old.jsonl",
        "frames.1.old.jsonl",
        "a.html",
    ]
    for name in ours + foreign:
        (folder / name).write_text("x")
    prepare_report_folder(folder, force=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*foreign, "summary.json"])


def test_a_run_that_was_killed_leaves_a_folder_that_force_replaces(folder: Path) -> None:
    (folder / "frames.jsonl").write_text('{"frame": 0}\n')
    prepare_report_folder(folder, force=True)
    assert not (folder / "frames.jsonl").exists()


def test_a_folder_that_is_no_report_is_refused_even_with_force(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "frames.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="not even with"):
        prepare_report_folder(home, force=True)
    assert (home / "frames.jsonl").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for make in (lambda path: prepare_report_folder(path, force=False), new_report_folder):
        with pytest.raises(StorageError, match="cannot write"):
            make(tmp_path / "file" / "report")


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    folders = [new_report_folder(tmp_path / "reports") for _ in range(4)]
    assert len(set(folders)) == 4
    assert all(summary_of(folder) == {"ended": None} for folder in folders)


def test_a_learner_that_failed_stands_in_the_report(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    method = LevelMethod()

    def fail(_: Result) -> None:
        method.failures["learner: MemoryError"] = 1

    run(folder, pipeline=pipeline_of(method), on_result=fail)
    assert summary_of(folder)["failures"] == {"learner: MemoryError": 1}
    assert "Beware: learner: MemoryError: 1." in (folder / "report.html").read_text()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
