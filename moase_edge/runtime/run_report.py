"""The report of a run: summary.json, pictures, one HTML page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moase_edge.metrics.trace import TracePoints
from moase_edge.report.files import write_json
from moase_edge.report.page import Picture, Section, write_page
from moase_edge.report.plots import plot_adaptation, plot_errors_by_domain, plot_latency, plots_missing
from moase_edge.report.tables import Table, latency_rows
from moase_edge.runtime.record import RunRecord

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
PAGE = "report.html"

# Titles with units, for what an update reports.
_TITLES = {
    "entropy": "entropy of the answer (nats)",
    "loss": "loss (nats)",
    "proximal": "proximal term (HP)",
    "grad_norm": "gradient norm",
    "student_teacher_distance": "student-teacher distance",
    "teacher_source_distance": "teacher-source distance",
}


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a report says besides the record's figures.

    Attributes:
        title: of the page.
        ended: why the run ended.
        facts: artifact, engine, source, mode, settings.
        source_counts: frames dropped, skipped, converted, ...
        failures: of the method, by reason.
        lost_lines: of the journal that could not be written.
        machine: what it ran on.
    """

    title: str
    ended: str
    facts: Mapping[str, Any]
    source_counts: Mapping[str, Any]
    failures: Mapping[str, int]
    lost_lines: int
    machine: Mapping[str, Any]


def write_report(folder: Path, report: RunReport, record: RunRecord) -> None:
    """Write summary.json, the pictures that there is something to draw for, and report.html.

    Raises:
        StorageError: the folder cannot be written.
    """
    summary = {
        "ended": report.ended,
        **report.facts,
        "source_counts": report.source_counts,
        "failures": report.failures,
        "journal_lines_lost": report.lost_lines,
        **record.summary(),
        "machine": report.machine,
    }
    write_json(folder / SUMMARY, summary)
    missing = plots_missing()
    pictures = [] if missing else _draw(folder, report, record)
    write_page(folder / PAGE, report.title, _sections(report, record, pictures, missing))


def latency_table(record: RunRecord) -> Table:
    """Latency of every stage, with its share of the total."""
    return latency_rows(record.profile.summaries(), record.profile.shares())


def error_table(record: RunRecord) -> Table | None:
    """Errors by domain of the answers and of the frozen model; None for an unlabelled source."""
    if not record.errors.frames:
        return None
    frozen = record.frozen_errors.by_domain()
    rows = [(name, frozen.get(name, float("nan")), error) for name, error in record.errors.by_domain().items()]
    means = (record.frozen_errors, record.errors)
    if len(rows) > 1:
        rows.append(("mean", *(counter.mean_over_domains() for counter in means)))  # type: ignore[arg-type]
    return Table(title="Error by domain (%)", columns=("domain", "frozen", "answered"), rows=rows)


def _draw(folder: Path, report: RunReport, record: RunRecord) -> list[Picture]:
    pictures = []
    latency = _points(record.latency_traces)
    if latency:
        path = folder / "latency.png"
        plot_latency(path, latency, record.profile.summaries(), title=f"Latency: {report.title}")
        pictures.append(Picture(path, "Latency of each stage over the frames, and its percentiles"))
    series = {_TITLES.get(name, name): points for name, points in _points(record.adaptation_traces).items()}
    if series:
        path = folder / "adaptation.png"
        plot_adaptation(path, series, marks=record.domain_marks, title=f"Adaptation: {report.title}")
        pictures.append(Picture(path, "Entropy and the figures of each update over the frames"))
    if record.errors.frames and len(record.errors.by_domain()) > 1:
        path = folder / "errors.png"
        errors = {"frozen": record.frozen_errors.by_domain(), "answered": record.errors.by_domain()}
        plot_errors_by_domain(path, {name: e for name, e in errors.items() if e}, title="Error by domain")
        pictures.append(Picture(path, "Error of the frozen model and of the answers, by domain"))
    return pictures


def _points(traces: Mapping[str, Any]) -> dict[str, TracePoints]:
    """Traces that hold at least one value."""
    return {name: trace.points() for name, trace in traces.items() if len(trace)}


def _sections(report: RunReport, record: RunRecord, pictures: list[Picture], missing: str | None) -> list[Section]:
    counts = {**record.counts, **report.failures, "journal lines lost": report.lost_lines}
    tables = [table for table in (error_table(record),) if table is not None]
    adaptation = [p for p in pictures if p.path.stem != "latency"]
    return [
        Section("Run", paragraphs=[f"It ended because {report.ended}."], details=report.facts),
        Section("Answers", tables=tables, pictures=adaptation, details=counts),
        Section(
            "Latency",
            paragraphs=[missing] if missing else [],
            tables=[latency_table(record)] if record.counts["frames"] else [],
            pictures=[p for p in pictures if p.path.stem == "latency"],
        ),
        Section("Source", details=report.source_counts),
        Section("Machine", details=report.machine),
    ]
