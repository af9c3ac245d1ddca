"""MoASE without each of its parts in turn: SDD, DAG, ASG, HP."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.experiments.compared import difference_between, only, to_source
from moase_edge.bench.experiments.spec import Experiment, Study
from moase_edge.bench.methods.variants import FULL, PARTS
from moase_edge.report.plots import plot_intervals
from moase_edge.report.tables import Table

_TITLE = "MoASE without a part, against all parts"


def study_parts(report: BenchReport, out: Path) -> Study:
    """Difference of each variant to MoASE with all parts, with its interval."""
    methods = only(report).methods
    against = {name: difference_between(report, out, name, FULL) for name in PARTS}
    points = {name: (found.points, found.low, found.high) for name, found in against.items()}
    rows = [
        (name, methods[name].error, to_source(methods[name]), against.get(name, "–"))  # noqa: RUF001
        for name in (FULL, *PARTS)
    ]
    return Study(
        plain={"against_full": {name: list(point) for name, point in points.items()}},
        table=Table(_TITLE, ("variant", "mean error", "against source", f"against {FULL}"), rows),
        draw=partial(_draw, points=points),
        about="Difference in error between MoASE without each part and MoASE with all",
    )


def _draw(path: Path, *, points: dict[str, tuple[float, float, float]]) -> None:
    plot_intervals(path, points, x_label="error less that of MoASE with all parts (percent points)", title=_TITLE)


PARTS_IN_TURN = Experiment(
    question="Which part of MoASE earns its place?",
    methods=(FULL, *PARTS),
    study=study_parts,
)
