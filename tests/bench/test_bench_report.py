"""What a finished benchmark leaves: JSON, tables, plots and a page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from moase_edge.bench import bench_report
from moase_edge.bench.bench_report import (
    BenchReport,
    frame_cost_table,
    opening_lines,
    protocol_table,
    write_bench_report,
)
from moase_edge.bench.benchmark import load_benchmark
from moase_edge.bench.grid import Cell
from moase_edge.bench.latency_aware import FRAME_COSTS
from moase_edge.config.bench import BenchSettings
from moase_edge.metrics.cell import NO_ANSWER
from moase_edge.report.tables import to_markdown
from tests.bench.finished import Kept, alternating, finish, kept, settings_of

MISSING = "no plots: matplotlib is missing"
BOTH = settings_of(protocols=("continual", "clips:frames=6,order=shuffled"), seeds=(0, 1))


def contents(cell: Cell) -> Kept:
    """The source errs on every second frame, the shipped method on every fourth; 40 frames."""
    found = kept([frame % (2 if cell.method == "source" else 4) == 0 for frame in range(40)])
    return found if cell.method == "source" else found._replace(counts={"domains_found": 2})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BenchReport:
    return load_benchmark(finish(tmp_path_factory.mktemp("bench"), BOTH, contents))


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_report, "plots_missing", lambda: MISSING)


def strict_json(path: Path) -> dict[str, Any]:
    """What a parser reads that knows no NaN."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is not JSON")

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return found


def test_the_opening_lines_are_source_error_normalisation_subset_and_seeds(report: BenchReport) -> None:
    assert opening_lines(report) == [
        "source error: continual 50.0 ± 0.0 %; clips:frames=6,order=shuffled 50.0 ± 0.0 %",
        "normalisation: 32 x 32 px, crop 1, bicubic, mean (0.500, 0.500, 0.500), std (0.250, 0.250, 0.250)",
        "subset: each domain shows 801 of the 901 pictures of digits; 100 others are source images",
        "seeds: 0, 1; severity 5; digits_vit, pretrained weights",
    ]


@pytest.mark.usefixtures("without_plots")
def test_the_json_has_all_that_repeats_and_measured_in_a_block_of_its_own(
    report: BenchReport, tmp_path: Path
) -> None:
    write_bench_report(tmp_path, report)
    found = strict_json(tmp_path / "bench.json")
    assert next(iter(found)) == "source_error"
    assert found["source_error"]["continual"] == {"mean": 50.0, "deviation": 0.0, "count": 2}
    assert found["subject"]["preprocess"]["mean"] == [0.5] * 3
    assert found["settings"]["seeds"] == [0, 1]
    assert found["frame_costs"] == {"source": 1.0, "edge": FRAME_COSTS["edge"]}
    assert {"processor", "cores", "memory_gib", "python", "packages"} <= set(found["machine"])
    assert list(found["protocols"]) == list(BOTH.protocols)
    edge = found["protocols"]["continual"]["methods"]["edge"]
    assert edge["error"] == {"mean": 25.0, "deviation": 0.0, "count": 2}
    assert edge["difference"]["by_domain"]["fog"]["points"] == -25.0
    assert edge["by_seed"]["1"]["error_by_domain"] == {"fog": 25.0, "snow": 25.0}
    assert edge["counts"] == {"0": {"domains_found": 2}, "1": {"domains_found": 2}}
    assert found["protocols"]["continual"]["methods"]["source"]["counts"] == {"0": {}, "1": {}}
    assert "measured" not in json.dumps(found["protocols"])
    measured = found["measured"]["continual"]["edge"]["0"]
    assert measured == {"ms_by_stage": {"engine": 2.0, "emit": 9.0}, "peak_memory_mib": 300.0, "wall_s": 1.5}


@pytest.mark.usefixtures("without_plots")
def test_the_same_answers_give_the_same_json_but_for_what_was_measured(tmp_path: Path) -> None:
    found = []
    for name, ms in (("fast", 1.0), ("slow", 50.0)):

        def of(cell: Cell, ms: float = ms) -> Kept:
            answers = contents(cell)
            return Kept(answers.record, answers.clean, kept([True], ms=ms, peak_mib=ms).measured)

        out = finish(tmp_path / name, BOTH, of)
        write_bench_report(out, load_benchmark(out))
        found.append(strict_json(out / "bench.json"))
    assert found[0].pop("measured") != found[1].pop("measured")
    assert found[0] == found[1]


@pytest.mark.usefixtures("without_plots")
def test_the_shipped_method_s_settings_are_those_of_the_run_and_a_baseline_s_the_published(
    tmp_path: Path,
) -> None:
    plain = settings_of(methods=("edge", "t3a"))
    settings = plain.model_copy(update={"adapt": plain.adapt.model_copy(update={"lr": 0.123})})
    out = finish(tmp_path, settings, contents)
    write_bench_report(out, load_benchmark(out))
    methods = strict_json(out / "bench.json")["methods"]
    assert methods["edge"]["hyper_parameters"]["lr"] == 0.123
    assert "T3A" in methods["t3a"]["reference"]
    assert methods["source"] == {"hyper_parameters": {}, "reference": "the frozen model", "whole_network": False}


@pytest.mark.usefixtures("without_plots")
def test_the_markdown_opens_with_what_a_figure_means_nothing_without(report: BenchReport, tmp_path: Path) -> None:
    write_bench_report(tmp_path, report)
    lines = (tmp_path / "results.md").read_text(encoding="utf-8").splitlines()
    assert lines[:4] == [f"- {line}" for line in opening_lines(report)]
    assert sum(line.startswith("| edge |") for line in lines) == 2
    assert "**continual: 40 frames a seed**" in lines


def test_the_page_shows_the_same_first_and_holds_four_plots_a_protocol(tmp_path: Path) -> None:
    out = finish(tmp_path, settings_of(protocols=("clips:frames=6",)), contents)
    report = load_benchmark(out)
    page = write_bench_report(out, report)
    assert page == tmp_path / "report.html"
    shown = page.read_text(encoding="utf-8")
    places = [shown.index(line.partition(":")[0]) for line in opening_lines(report)]
    assert places == sorted(places)
    assert places[-1] < shown.index("<table>")
    plots = list(tmp_path.glob("*.png"))
    assert len(plots) == shown.count("<img") == 4
    assert {plot.name.rpartition("-")[2] for plot in plots} == {"matrix.png", "bars.png", "time.png", "cost.png"}


@pytest.mark.usefixtures("without_plots")
def test_without_matplotlib_the_page_has_tables_and_says_why(report: BenchReport, tmp_path: Path) -> None:
    shown = write_bench_report(tmp_path, report).read_text(encoding="utf-8")
    assert MISSING in shown
    assert "<img" not in shown
    assert shown.count("<table>") == 3
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("ms", [math.nan, 0.0])
def test_a_method_whose_time_is_not_known_is_left_out_of_the_cost_plot(
    ms: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the source's own time there is no unit, and no such plot."""
    drawn: dict[str, list[str]] = {}
    draw = bench_report.plot_error_against_cost

    def note(path: Path, points: dict[str, Any], *, title: str) -> None:
        drawn[title.rpartition(" ")[2]] = list(points)
        draw(path, points, title=title)

    monkeypatch.setattr(bench_report, "plot_error_against_cost", note)
    for name in ("plot_error_matrix", "plot_errors_by_domain", "plot_error_over_time"):
        monkeypatch.setattr(bench_report, name, lambda path, *rest, **more: path.write_bytes(b"\x89PNG\r\n\x1a\n"))
    settings = settings_of(methods=("edge", "lame"), protocols=("continual", "mixed"))

    def of(cell: Cell) -> Kept:
        unknown = {"continual": "edge", "mixed": "source"}[cell.protocol]
        return kept([True, False], ms=ms if cell.method == unknown else 2.0)

    out = finish(tmp_path, settings, of)
    write_bench_report(out, load_benchmark(out))
    assert drawn == {"continual": ["source", "lame"]}
    strict_json(out / "bench.json")


def test_the_source_alone_under_one_protocol_has_a_whole_report(tmp_path: Path) -> None:
    settings = settings_of(methods=("source",))
    out = finish(tmp_path, settings, lambda cell: kept([True], domain=np.zeros(1, np.int64)))
    page = write_bench_report(out, load_benchmark(out))
    assert page.read_text(encoding="utf-8").count("<img") == 4
    found = strict_json(out / "bench.json")["protocols"]["continual"]["methods"]["source"]
    assert (found["difference"], found["recovery_frames"]) == (None, None)
    assert found["error"] == {"mean": 100.0, "deviation": None, "count": 1}


def test_domains_that_change_with_every_frame_and_bear_odd_names_are_drawn(tmp_path: Path) -> None:
    names = ("a$b^$|<i>", "über/nacht\n`x`")
    settings = settings_of(protocols=("mixed",))
    out = finish(tmp_path, settings, lambda cell: kept([True, False] * 50, domains=names, **alternating(100)))
    report = load_benchmark(out)
    shown = write_bench_report(out, report).read_text(encoding="utf-8")
    assert len(report.protocols[0].marks) == 100
    assert shown.count("<img") == 4
    assert "a$b^$|&lt;i&gt;" in shown
    assert "<i>" not in shown
    found = strict_json(out / "bench.json")["protocols"]["mixed"]["methods"]["edge"]
    assert list(found["error_by_domain"]) == list(names)
    rows = [line for line in (out / "results.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    # An escaped bar is text.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {
        len(protocol_table(report.protocols[0]).columns) + 1
    }


def test_protocols_whose_names_look_alike_in_a_file_name_have_plots_of_their_own(tmp_path: Path) -> None:
    settings = settings_of(methods=("source",), protocols=("dirichlet:delta=1e-3", "dirichlet:delta=1e+3"))
    out = finish(tmp_path, settings, lambda cell: kept([cell.protocol.endswith("+3")] * 4))
    report = load_benchmark(out)
    assert [found.source.error.mean for found in report.protocols] == [0.0, 100.0]
    write_bench_report(out, report)
    bars = sorted(path.read_bytes() for path in out.glob("*-bars.png"))
    assert len(bars) == 2
    assert bars[0] != bars[1]


def test_troubles_have_columns_where_there_are_any(report: BenchReport, tmp_path: Path) -> None:
    calm = protocol_table(report.protocols[0])
    assert {"failures", "unanswered"} & set(calm.columns) == set()
    settings = BenchSettings(methods=("edge",))

    def of(cell: Cell) -> Kept:
        if cell.method == "source":
            return kept([True] * 4)
        return kept(
            [True] * 4, prediction=np.array([NO_ANSWER, 1, 1, 1]), failed=np.array([True, True, False, False])
        )

    table = protocol_table(load_benchmark(finish(tmp_path, settings, of)).protocols[0])
    edge = dict(zip(table.columns, table.rows[1], strict=True))
    assert (edge["failures"], edge["unanswered"]) == (2, 1)
    assert "| edge |" in to_markdown(table)


def test_a_terminal_gets_fewer_columns_and_the_costs_of_the_methods(report: BenchReport) -> None:
    brief = protocol_table(report.protocols[0], brief=True)
    assert brief.columns == ("method", "mean", "against source", "forgetting", "updates", "ms/frame")
    assert [row[:2] for row in frame_cost_table(["cotta", "source"]).rows] == [("cotta", 36.0), ("source", 1.0)]
