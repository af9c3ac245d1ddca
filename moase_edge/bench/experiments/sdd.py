"""The threshold of SDD: how much of its units an expert keeps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.experiments.compared import curve_of, difference_between, only, plain_curve, to_source
from moase_edge.bench.experiments.spec import Experiment, Study
from moase_edge.bench.methods.variants import FULL, SDD_SHARES
from moase_edge.report.curves_figure import Curve
from moase_edge.report.plots import plot_curves
from moase_edge.report.tables import Table

_TITLE = "Threshold of SDD"


def study_threshold(report: BenchReport, out: Path) -> Study:
    """Difference to the source over the share that the least sparse expert of each half keeps."""
    methods = only(report).methods
    curve = curve_of({share: to_source(methods[name]) for name, share in SDD_SHARES.items()})
    rows = [
        (
            f"{share:g}",
            methods[name].error,
            to_source(methods[name]),
            difference_between(report, out, name, FULL),
        )
        for name, share in SDD_SHARES.items()
    ]
    return Study(
        plain=plain_curve(curve),
        table=Table(_TITLE, ("share kept", "mean error", "against source", "against 0.5"), rows),
        draw=partial(_draw, curve=curve),
        about="Difference to the source over the share of its units that the least sparse expert keeps",
    )


def _draw(path: Path, *, curve: Curve) -> None:
    plot_curves(
        path,
        {"band: 95 % interval over pictures": {"MoASE less the source": curve}},
        x_label="share of its units that the least sparse expert of each half keeps",
        y_label="error (percent points)",
        title=_TITLE,
        level=0.0,
    )


THRESHOLD = Experiment(
    question="How sparse should the experts be?",
    methods=tuple(SDD_SHARES),
    study=study_threshold,
)
