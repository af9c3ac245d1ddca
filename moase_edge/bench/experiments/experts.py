"""2, 4, 8 and 16 experts, by kind of shift."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.experiments.compared import curve_of, only, plain_curve, to_source
from moase_edge.bench.experiments.spec import Experiment, Study
from moase_edge.bench.methods.variants import EXPERTS
from moase_edge.bench.results import MethodResult
from moase_edge.data.corruptions import KINDS
from moase_edge.metrics.bootstrap import Difference
from moase_edge.report.curves_figure import Curve
from moase_edge.report.plots import plot_curves
from moase_edge.report.tables import Cell, Table

_TITLE = "Number of experts, by kind of shift"
_OTHER = "other"


def kind_of(domain: str) -> str:
    """Noise, blur, weather or digital; `other` for what is no corruption."""
    return next((kind for kind, members in KINDS.items() if domain in members), _OTHER)


def by_kind(values: Mapping[str, float]) -> dict[str, float]:
    """The mean over the domains of each kind."""
    groups: dict[str, list[float]] = {}
    for domain, value in values.items():
        groups.setdefault(kind_of(domain), []).append(value)
    return {kind: statistics.fmean(group) for kind, group in groups.items()}


def differences_by_kind(result: MethodResult, source: MethodResult) -> dict[str, Difference]:
    """Error less the source's by kind: the mean over seeds, and the lowest and highest seed."""
    seeds = [
        by_kind({d: e - source.by_seed[seed].error_by_domain[d] for d, e in found.error_by_domain.items()})
        for seed, found in result.by_seed.items()
    ]
    columns = {kind: [seed[kind] for seed in seeds] for kind in seeds[0]}
    return {kind: Difference(statistics.fmean(c), min(c), max(c)) for kind, c in columns.items()}


def study_experts(report: BenchReport, _out: Path) -> Study:
    """Difference to the source over the number of experts, a curve for each kind."""
    found = only(report)
    kinds = {name: differences_by_kind(found.methods[name], found.source) for name in EXPERTS}
    names = list(kinds[next(iter(kinds))])
    curves = {kind: curve_of({float(EXPERTS[name]): kinds[name][kind] for name in EXPERTS}) for kind in names}
    rows: list[tuple[Cell, ...]] = [
        (
            str(count),
            found.methods[name].error,
            to_source(found.methods[name]),
            *(Difference(kinds[name][kind].points, math.nan, math.nan) for kind in names),
        )
        for name, count in EXPERTS.items()
    ]
    note = "By kind: less the source, mean over seeds."
    return Study(
        plain={kind: plain_curve(curve) for kind, curve in curves.items()},
        table=Table(_TITLE, ("experts", "mean error", "against source", *names), rows, note),
        draw=partial(_draw, curves=curves),
        about="Difference to the source over the number of experts, a curve for each kind of shift",
    )


def _draw(path: Path, *, curves: dict[str, Curve]) -> None:
    plot_curves(
        path,
        {"bands: lowest to highest seed": curves},
        x_label="experts",
        y_label="error less the source's (percent points)",
        title=_TITLE,
        logarithmic=True,
        level=0.0,
    )


NUMBER_OF_EXPERTS = Experiment(
    question="How many experts are worth having, and for which kind of shift?",
    methods=tuple(EXPERTS),
    study=study_experts,
)
