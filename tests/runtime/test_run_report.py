"""The report of a run: which pictures are drawn, what the page says, and what happens without plots."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from moase_edge.errors import StorageError
from moase_edge.report.files import write_bytes_atomic
from moase_edge.runtime import run_report
from moase_edge.runtime.record import RunRecord
from moase_edge.runtime.run_report import (
    RunReport,
    answers_line,
    answers_table,
    error_table,
    latency_table,
    outcome_lines,
    write_report,
)
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of
from tests.runtime.test_record import result

PNG = b"\x89PNG\r\n\x1a\n"


def record_of(*, labels: list[int] | None = None, domains: list[str] | None = None) -> RunRecord:
    pipeline = pipeline_of(LevelMethod())
    list(pipeline.run(ListSource(frames(4, labels=labels, domains=domains))))
    return pipeline.record


def report_of(**changes: object) -> RunReport:
    values: dict[str, object] = {
        "title": "fake on <list>",
        "ended": "the source ended",
        "facts": {"artifact": "fake", "moase": {"rank": 48}},
        "source_counts": {"delivered": 4, "dropped": 0, "size": (4, 4)},
        "failures": {},
        "lost_lines": 0,
        "machine": {"cores": 2},
    }
    return RunReport(**{**values, **changes})  # type: ignore[arg-type]


def test_labelled_frames_of_several_domains_give_all_three_pictures(tmp_path: Path) -> None:
    record = record_of(labels=[0, 1, 0, 0], domains=["clear", "clear", "fog", "fog"])
    write_report(tmp_path, report_of(), record)
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["adaptation.png", "errors.png", "latency.png"]
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in pictures)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "Error by domain (%)" in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["error_percent"]["answered"]["by_domain"] == {"clear": 0.0, "fog": 50.0}


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    write_report(tmp_path, report_of(), record_of())
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r"https?://", page)
    assert "<script" not in page
    assert set(re.findall(r'src="(data:image/png;base64,)', page)) == {"data:image/png;base64,"}
    assert len(re.findall(r"(?:src|href)=", page)) == len(re.findall(r'(?:src|href)="data:', page))
    assert "fake on &lt;list&gt;" in page


def test_frames_without_labels_give_no_errors(tmp_path: Path) -> None:
    record = record_of()
    write_report(tmp_path, report_of(), record)
    assert not (tmp_path / "errors.png").exists()
    assert error_table(record) is None
    assert json.loads((tmp_path / "summary.json").read_text())["error_percent"] == {}


def test_without_matplotlib_there_are_tables_json_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_report, "plots_missing", lambda: "There are no plots, because of this test.")
    write_report(tmp_path, report_of(), record_of())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "summary.json"]
    page = (tmp_path / "report.html").read_text()
    assert "There are no plots, because of this test." in page
    assert "Latency (ms)" in page


def test_plots_that_fail_cost_neither_page_nor_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise MemoryError

    monkeypatch.setattr(run_report, "plot_latency", fail)
    write_report(tmp_path, report_of(), record_of())
    assert "could not be drawn (MemoryError())" in (tmp_path / "report.html").read_text()
    assert "could not be drawn" in caplog.text


def test_a_full_disk_while_plotting_is_a_storage_error_after_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(run_report, "plot_latency", fail)
    with pytest.raises(StorageError):
        write_report(tmp_path, report_of(), record_of())
    assert json.loads((tmp_path / "summary.json").read_text())["counts"]["frames"] == 4


def test_the_summary_replaces_an_older_one_whole(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "summary.json", b'{"ended": null}')
    write_report(tmp_path, report_of(failures={"learner: MemoryError": 1}, lost_lines=2), RunRecord())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ended"] == "the source ended"
    assert summary["failures"] == {"learner: MemoryError": 1}
    assert summary["journal_lines_lost"] == 2
    assert summary["moase"] == {"rank": 48}
    assert summary["source_counts"]["size"] == [4, 4]


def test_the_latency_table_gives_the_age_of_a_frame_no_share() -> None:
    shares = {row[0]: row[-1] for row in latency_table(record_of()).rows}
    engine, age = shares["engine"], shares["age"]
    assert shares["total"] == 100.0
    assert isinstance(engine, float)
    assert 0 < engine < 100
    assert isinstance(age, float)
    assert math.isnan(age)


@pytest.mark.parametrize(
    ("domains", "rows"),
    [
        (["clear", "clear", "fog", "fog"], [("clear", 0.0, 0.0), ("fog", 50.0, 50.0), ("mean", 25.0, 25.0)]),
        (["fog"] * 4, [("fog", 25.0, 25.0)]),
        (None, [("all frames", 25.0, 25.0)]),
    ],
)
def test_the_error_table_has_a_row_a_domain_and_their_mean(
    domains: list[str] | None, rows: list[tuple[str, float, float]]
) -> None:
    table = error_table(record_of(labels=[0, 1, 0, 0], domains=domains))
    assert table is not None
    assert [tuple(row) for row in table.rows] == rows


def test_the_outcome_says_what_went_wrong_and_only_that() -> None:
    quiet = outcome_lines(report_of(), record_of())
    assert quiet[0] == "It ended because the source ended."
    assert "Frames: 4; answered adapted: 4" in quiet[1]
    assert "updates: 4" in quiet[1]
    assert len(quiet) == 2
    troubled = report_of(source_counts={"dropped": 3, "decode_errors": 1, "size": (4, 4)}, lost_lines=2)
    assert (
        outcome_lines(troubled, record_of())[2] == "Beware: dropped: 3, decode errors: 1, journal lines lost: 2."
    )


def test_what_the_method_found_and_did_is_told_where_it_did_anything(tmp_path: Path) -> None:
    report = report_of(adaptation={"domains_found": 3, "rollbacks": 0, "alarm: distance": 1})
    assert outcome_lines(report, record_of())[2] == "Adaptation: domains found: 3, alarm: distance: 1."
    write_report(tmp_path, report, record_of())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["adaptation"] == {"domains_found": 3, "rollbacks": 0, "alarm: distance": 1}
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Adaptation" in page
    assert "domains_found" in page
    assert not any(line.startswith("Adaptation") for line in outcome_lines(report_of(), record_of()))


def test_frames_that_the_frozen_model_was_not_asked_about_are_told() -> None:
    record = RunRecord()
    record.add_results(
        [
            result(0, 1, frozen=0, label=1, domain="fog"),
            result(1, 1, has_frozen_answer=False, label=1, domain="fog"),
        ]
    )
    assert (
        "unlike the frozen model: 1 (1 not compared); answered frozen: 0" in outcome_lines(report_of(), record)[1]
    )
    table = error_table(record)
    assert table is not None
    assert [tuple(row) for row in table.rows] == [("fog", 100.0, 0.0)]
    assert table.note.startswith("The frozen model was asked about 1 of 2 frames")
    asked = error_table(record_of(labels=[0, 1, 0, 0]))
    assert asked is not None
    assert asked.note == ""


def test_the_report_begins_its_answers_with_the_most_frequent_ones(tmp_path: Path) -> None:
    record = record_of()  # levels 0, 1, 2, 0 and their classes
    assert answers_line(record) == "Most frequent answers: class 0 50 % (2), class 1 25 % (1), class 2 25 % (1)."
    table = answers_table(record)
    assert table is not None
    assert [row[:4] for row in table.rows] == [
        ("class 0", 0, 2, 50.0),
        ("class 1", 1, 1, 25.0),
        ("class 2", 2, 1, 25.0),
    ]
    write_report(tmp_path, report_of(), record)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["answered_classes"] == 3
    assert summary["most_frequent_answers"][0]["count"] == 2
    assert summary["most_frequent_answers"][0]["mean_confidence"] == pytest.approx(
        math.e / (math.e + 2)  # logits 1, 0, 0
    )
    page = (tmp_path / "report.html").read_text()
    assert page.index("<h2>Answers") < page.index("Most frequent answers") < page.index("<h2>Latency")


def test_a_run_without_an_answer_has_no_table_of_them() -> None:
    assert answers_line(RunRecord()) is None
    assert answers_table(RunRecord()) is None


def test_the_table_says_how_many_classes_it_leaves_out() -> None:
    record = RunRecord()
    for index in range(12):
        record.add_results([result(index, index)])
    table = answers_table(record)
    assert table is not None
    assert (len(table.rows), table.note) == (10, "2 further classes were answered less often.")
    assert str(answers_line(record)).endswith("; 12 classes in all.")


@pytest.mark.parametrize(
    ("adapt", "title", "caption"),
    [
        ("every", "Adaptation: ", "Entropy and the figures of each update over the frames"),
        ("hold", "Certainty: ", "Entropy of the answers over the frames"),
    ],
)
def test_without_updates_no_picture_speaks_of_adaptation(
    adapt: str, title: str, caption: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def plot(path: Path, *_: object, title: str, **__: object) -> None:
        titles.append(title)
        path.write_bytes(PNG)

    monkeypatch.setattr(run_report, "plot_latency", plot)
    monkeypatch.setattr(run_report, "plot_adaptation", plot)
    pipeline = pipeline_of(LevelMethod(), adapt=adapt)
    list(pipeline.run(ListSource(frames(3))))
    write_report(tmp_path, report_of(), pipeline.record)
    assert titles[-1] == f"{title}fake on <list>"
    assert caption in (tmp_path / "report.html").read_text()
