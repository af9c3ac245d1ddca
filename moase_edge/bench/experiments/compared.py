"""Figures that several experiments share: differences to the source and between two methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.grid import SOURCE, Cell
from moase_edge.bench.results import MethodResult, ProtocolResult
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.cell import CellRecord, pooled_difference
from moase_edge.report.curves_figure import Curve

# Of the intervals, as in the tables of all methods.
_INTERVAL_SEED = 0
NO_DIFFERENCE = Difference(0.0, 0.0, 0.0)


def only(report: BenchReport) -> ProtocolResult:
    """The results of an experiment's one protocol."""
    (found,) = report.protocols
    return found


def to_source(result: MethodResult) -> Difference:
    """Difference to the source in the mean over domains; none for the source itself."""
    return NO_DIFFERENCE if result.difference is None else result.difference.mean


def difference_between(report: BenchReport, out: Path, method: str, reference: str) -> Difference:
    """One method less another on the same frames of all seeds, with its interval over pictures."""
    records = [_records(report, out, name) for name in (method, reference)]
    return pooled_difference(
        *records, rng=np.random.default_rng(_INTERVAL_SEED), samples=report.settings.bootstrap
    ).mean


def curve_of(points: dict[float, Difference]) -> Curve:
    """Differences over x, ascending, with their intervals."""
    ordered = sorted(points.items())
    rows = [(x, d.points, d.low, d.high) for x, d in ordered]
    return Curve(*(list(column) for column in zip(*rows, strict=True)))


def plain_curve(curve: Curve) -> dict[str, list[float]]:
    """For JSON."""
    return {name: list(values) for name, values in curve._asdict().items()}


def _records(report: BenchReport, out: Path, method: str) -> list[CellRecord]:
    protocol = only(report).protocol
    return [Cell(protocol, seed, method).files(out).load()[0] for seed in report.settings.seeds]


__all__ = ["NO_DIFFERENCE", "SOURCE", "curve_of", "difference_between", "only", "plain_curve", "to_source"]
