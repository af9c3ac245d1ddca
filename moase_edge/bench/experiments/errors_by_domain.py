"""A study of errors by domain: methods beside the source, as bars."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.experiments.compared import only, to_source
from moase_edge.bench.experiments.spec import Study
from moase_edge.report.plots import plot_errors_by_domain
from moase_edge.report.tables import Table


def study_errors(report: BenchReport, _out: Path, *, title: str) -> Study:
    """Error of each method in each domain."""
    methods = only(report).methods
    errors = {name: dict(result.error_by_domain) for name, result in methods.items()}
    rows = [(name, result.error, to_source(result), result.forgetting) for name, result in methods.items()]
    return Study(
        plain={"error_by_domain": errors},
        table=Table(title, ("method", "mean error", "against source", "forgetting"), rows),
        draw=partial(_draw, errors=errors, title=title),
        about=f"Error by domain of {', '.join(errors)}",
    )


def _draw(path: Path, *, errors: dict[str, dict[str, float]], title: str) -> None:
    plot_errors_by_domain(path, errors, title)
