"""The report of a run: summary.json, pictures, one HTML page."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moase_edge.errors import StorageError
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.files import write_json
from moase_edge.report.page import Picture, Section, write_page
from moase_edge.report.plots import plot_adaptation, plot_errors_by_domain, plot_latency, plots_missing
from moase_edge.report.tables import Percent, Table, latency_rows
from moase_edge.runtime.record import SHOWN_ANSWERS, RunRecord

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
PAGE = "report.html"
PICTURES = ("latency.png", "adaptation.png", "errors.png")

# Counts of a source that tell of something lost or bent.
_TROUBLES = ("dropped", "skipped", "converted", "resized", "decode_errors", "reopened", "missing")

# Titles with units, for what an update reports.
_TITLES = {
    "entropy": "entropy of the answer (nats)",
    "loss": "loss (nats)",
    "proximal": "proximal term (HP)",
    "grad_norm": "gradient norm",
    "student_teacher_distance": "student-teacher distance",
    "teacher_source_distance": "teacher-source distance",
    "domain": "domain (its number)",
    "feature_shift": "shift of the features (norm)",
    "steered": "domain is steered (1) or not (0)",
}


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a report says besides the record's figures.

    Attributes:
        title: of the page.
        ended: why the run ended, as a clause: "the source ended".
        facts: artifact, engine, source, mode, settings.
        source_counts: frames dropped, skipped, converted, ...
        failures: of the method, by reason.
        lost_lines: of the journal that could not be written.
        machine: what it ran on.
        adaptation: what the method found and did, by name; empty for one that counts nothing.
        state: where snapshots are kept, how many were written, and which one was resumed from; None without any.
    """

    title: str
    ended: str
    facts: Mapping[str, Any]
    source_counts: Mapping[str, Any]
    failures: Mapping[str, int]
    lost_lines: int
    machine: Mapping[str, Any]
    adaptation: Mapping[str, int] = field(default_factory=dict)
    state: Mapping[str, Any] | None = None


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
        "adaptation": report.adaptation,
        "state": report.state,
        "journal_lines_lost": report.lost_lines,
        **record.summary(),
        "machine": report.machine,
    }
    write_json(folder / SUMMARY, summary)
    missing = plots_missing()
    pictures: list[Picture] = []
    if not missing:
        try:
            pictures = _draw(folder, report, record)
        except StorageError:
            raise
        except Exception as exc:  # a library without memory or fonts must not cost the page
            logger.warning("the plots could not be drawn: %r", exc)
            missing = f"There are no plots, because they could not be drawn ({exc!r})."
    write_page(folder / PAGE, report.title, _sections(report, record, pictures, missing))


def outcome_lines(report: RunReport, record: RunRecord) -> list[str]:
    """What a reader wants to know first, as sentences: how it ended, what was answered, what went wrong."""
    counts = record.counts
    unknown, put_off = counts["frozen_unknown"], counts["updates_deferred"]
    lines = [
        f"It ended because {report.ended.rstrip('.')}.",
        f"Frames: {counts['frames']}; answered adapted: {counts['answered_adapted']}, of them unlike the frozen "
        f"model: {counts['differs_from_frozen']}{f' ({unknown} not compared)' if unknown else ''}; "
        f"answered frozen: {counts['answered_frozen']}; updates: {counts['updates']}"
        f"{f', put off: {put_off}' if put_off else ''}.",
        *_told("Adaptation", report.adaptation),
        *_state_lines(report.state),
    ]
    troubles = {
        **{name: report.source_counts.get(name, 0) for name in _TROUBLES},
        **report.failures,
        "snapshots failed": (report.state or {}).get("snapshots_failed", 0),
        "without an answer": counts["unanswered"],
        "journal lines lost": report.lost_lines,
    }
    return [*lines, *_told("Beware", troubles)]


def _state_lines(state: Mapping[str, Any] | None) -> list[str]:
    if state is None:
        return []
    came = f"; resumed from {state['resumed_from']}" if state["resumed_from"] else ""
    at = f" at frame {state['resumed_at_frame']}" if state["resumed_at_frame"] else ""
    return [f"State: {state['snapshots_written']} snapshots written to {state['folder']}{came}{at}."]


def _told(what: str, counts: Mapping[str, int]) -> list[str]:
    """A sentence of the counts that are not 0; none where all are."""
    told = [f"{name.replace('_', ' ')}: {number}" for name, number in counts.items() if number]
    return [f"{what}: {', '.join(told)}."] if told else []


def answers_line(record: RunRecord) -> str | None:
    """The three most frequent answers in a sentence; None for a run without an answer."""
    most = record.answers.most_frequent(3)
    if not most:
        return None
    told = ", ".join(f"{answer.name} {100 * answer.share:.0f} % ({answer.count})" for answer in most)
    more = f"; {len(record.answers)} classes in all" if len(record.answers) > len(most) else ""
    return f"Most frequent answers: {told}{more}."


def answers_table(record: RunRecord) -> Table | None:
    """The most frequent answers with their mean confidence; None for a run without an answer."""
    most = record.answers.most_frequent(SHOWN_ANSWERS)
    rows = [
        (
            answer.name,
            answer.index,
            answer.count,
            Percent(100 * answer.share),
            Percent(math.nan if answer.mean_confidence is None else 100 * answer.mean_confidence),
        )
        for answer in most
    ]
    if not rows:
        return None
    columns = ("answer", "class", "frames", "share (%)", "mean confidence (%)")
    left_out = len(record.answers) - len(rows)
    note = f"{left_out} further classes were answered less often." if left_out else ""
    return Table("Most frequent answers", columns, rows, note)


def latency_table(record: RunRecord) -> Table:
    """Latency of every stage, with its share of the total."""
    return latency_rows(record.profile.summaries(), record.shares())


def error_table(record: RunRecord) -> Table | None:
    """Errors by domain of the answers and of the frozen model; None for an unlabelled source."""
    if not record.errors.frames:
        return None
    both = record.frozen_errors, record.errors
    frozen, answered = (counter.by_domain() for counter in both)
    rows = [(name, frozen.get(name, math.nan), error) for name, error in answered.items()]
    if not rows:
        rows = [("all frames", both[0].overall(), both[1].overall())]
    elif len(rows) > 1:
        rows.append(("mean", both[0].mean_over_domains(), both[1].mean_over_domains()))
    asked, frames = (counter.frames for counter in both)
    note = f"The frozen model was asked about {asked} of {frames} frames; its error is over these alone."
    return Table("Error by domain (%)", ("domain", "frozen", "answered"), rows, note if asked < frames else "")


def _draw(folder: Path, report: RunReport, record: RunRecord) -> list[Picture]:
    pictures = []
    latency_png, adaptation_png, errors_png = (folder / name for name in PICTURES)
    latency = _points(record.latency_traces)
    if latency:
        plot_latency(latency_png, latency, record.profile.summaries(), title=f"Latency: {report.title}")
        pictures.append(Picture(latency_png, "Latency of each stage over the frames, and its percentiles"))
    series = {_TITLES.get(name, name): points for name, points in _points(record.adaptation_traces).items()}
    if series:
        learned = record.counts["updates"] > 0
        title = f"{'Adaptation' if learned else 'Certainty'}: {report.title}"
        plot_adaptation(adaptation_png, series, marks=record.domain_marks, title=title)
        shown = "Entropy and the figures of each update" if learned else "Entropy of the answers"
        pictures.append(Picture(adaptation_png, f"{shown} over the frames"))
    if record.errors.frames and len(record.errors.by_domain()) > 1:
        errors = {"frozen": record.frozen_errors.by_domain(), "answered": record.errors.by_domain()}
        plot_errors_by_domain(errors_png, {name: e for name, e in errors.items() if e}, title="Error by domain")
        pictures.append(Picture(errors_png, "Error of the frozen model and of the answers, by domain"))
    return pictures


def _points(traces: Mapping[str, Any]) -> dict[str, TracePoints]:
    """Traces that hold at least one value."""
    return {name: trace.points() for name, trace in traces.items() if len(trace)}


def _sections(report: RunReport, record: RunRecord, pictures: list[Picture], missing: str | None) -> list[Section]:
    counts = {**record.counts, **report.failures, "journal lines lost": report.lost_lines}
    done = [Section("Adaptation", details=report.adaptation)] if report.adaptation else []
    done += [Section("State", details=report.state)] if report.state else []
    tables = [table for table in (answers_table(record), error_table(record)) if table is not None]
    adaptation = [p for p in pictures if p.path.stem != "latency"]
    return [
        Section("Run", paragraphs=outcome_lines(report, record), details=report.facts),
        Section("Answers", tables=tables, pictures=adaptation, details=counts),
        *done,
        Section(
            "Latency",
            paragraphs=[missing] if missing else [],
            tables=[latency_table(record)] if record.counts["frames"] else [],
            pictures=[p for p in pictures if p.path.stem == "latency"],
        ),
        Section("Source", details=report.source_counts),
        Section("Machine", details=report.machine),
    ]
