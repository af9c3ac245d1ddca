"""Run an experiment: its benchmark, and its figure at the head of the benchmark's report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moase_edge.bench.bench_report import BenchReport, write_bench_report
from moase_edge.bench.benchmark import run_benchmark
from moase_edge.bench.experiments import Experiment, Study
from moase_edge.bench.grid import Cell
from moase_edge.config.bench import BenchSettings
from moase_edge.report.files import write_json
from moase_edge.report.page import Picture, Section
from moase_edge.report.plots import plots_missing

DATA = "experiment.json"
FIGURE = "experiment.png"


def run_experiment(
    chosen: Experiment, settings: BenchSettings, out: Path, *, jobs: int, on_progress: Callable[[list[Cell]], None]
) -> tuple[BenchReport, Study, Path]:
    """Run what is not done yet in `out`; returns the benchmark's report, what was found, and the page.

    Raises:
        ConfigError: settings that do not fit each other, the data or the folder.
        MoaseEdgeError: what a cell raised; finished cells are kept.
    """
    report, _ = run_benchmark(settings, out, jobs=jobs, on_progress=on_progress)
    study = chosen.study(report, out)
    write_json(out / DATA, study.plain)
    pictures = []
    if not plots_missing():
        study.draw(out / FIGURE)
        pictures.append(Picture(out / FIGURE, study.about))
    lead = Section(chosen.question, tables=[study.table], pictures=pictures)
    return report, study, write_bench_report(out, report, [lead])
