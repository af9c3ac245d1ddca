"""The report of a benchmark: bench.json, tables as Markdown, pictures, one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moase_edge.bench.grid import SOURCE
from moase_edge.bench.methods import frame_cost, method_spec
from moase_edge.bench.protocol_choice import file_stem
from moase_edge.bench.results import MethodResult, ProtocolResult
from moase_edge.config.bench import BenchSettings
from moase_edge.report.files import write_json, write_text_atomic
from moase_edge.report.method_tables import MethodRow, method_table
from moase_edge.report.page import Picture, Section, write_page
from moase_edge.report.plots import (
    plot_error_against_cost,
    plot_error_matrix,
    plot_error_over_time,
    plot_errors_by_domain,
    plots_missing,
)
from moase_edge.report.tables import Percent, Table, format_cell, to_markdown
from moase_edge.runtime.machine import describe_machine

RESULTS = "bench.json"
TABLES = "results.md"
PAGE = "report.html"
SHIPPED = "edge"
_MOST_MARKS = 40
_LOWEST_IS_BEST = ("forgetting", "ECE (%)", "to recover")
_NOTE = (
    "Errors in percent; ± over seeds; [95 % interval] of the difference to the source, resampling pictures. "
    "Forgetting: error on clean pictures afterwards, less the source's. To recover: frames after a shift (median)."
)


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What a report says.

    Attributes:
        settings: what was run.
        subject: model, normalisation and subset (see `Workbench.facts`).
        protocols: the results.
    """

    settings: BenchSettings
    subject: Mapping[str, Any]
    protocols: Sequence[ProtocolResult]

    def methods(self, protocol: str) -> list[str]:
        """Names of the methods under one protocol."""
        return [name for found in self.protocols if found.protocol == protocol for name in found.methods]


def opening_lines(report: BenchReport) -> list[str]:
    """Source error, normalisation, subset and seeds: what a figure means nothing without."""
    settings, subject = report.settings, report.subject
    errors = [f"{found.protocol} {format_cell(found.source.error)} %" for found in report.protocols]
    return [
        f"source error: {'; '.join(errors)}",
        f"normalisation: {normalisation(subject['preprocess'])}",
        f"subset: each domain shows {subject['streamed']} of the {subject['pictures']} pictures of "
        f"{subject['data']}; {subject['source_images']} others are source images",
        f"seeds: {', '.join(map(str, settings.seeds))}; severity {settings.severity}; "
        f"{subject['backbone']}, {subject['weights']} weights",
    ]


def normalisation(preprocess: Mapping[str, Any]) -> str:
    """Size, crop, mean and spread of the model's input in one line."""
    mean, std = (", ".join(f"{value:.3f}" for value in preprocess[name]) for name in ("mean", "std"))
    size = f"{preprocess['width']} x {preprocess['height']}"
    return f"{size} px, crop {preprocess['crop_pct']:g}, {preprocess['interpolation']}, mean ({mean}), std ({std})"


def rows_of(found: ProtocolResult, *, brief: bool = False) -> list[MethodRow]:
    """A row for each method; `brief` leaves out what a terminal has no room for."""
    return [
        MethodRow(
            name=name,
            error_by_domain=result.error_by_domain,
            error=result.error,
            difference=None if result.difference is None else result.difference.mean,
            further=_brief(result) if brief else _further(result),
        )
        for name, result in found.methods.items()
    ]


def protocol_table(found: ProtocolResult, *, brief: bool = False) -> Table:
    """All methods under one protocol."""
    return method_table(
        rows_of(found, brief=brief),
        title=f"{found.protocol}: {found.frames} frames a seed",
        source=SOURCE,
        by_domain=not brief,
        lowest_is_best=_LOWEST_IS_BEST,
        note="" if brief else _NOTE,
    )


def frame_cost_table(methods: Sequence[str]) -> Table:
    """What the latency-aware clock charges."""
    rows = [(name, frame_cost(name), method_spec(name).reference) for name in methods]
    note = "In frame times: one frozen inference each. The latency-aware protocol takes its clock from here."
    return Table("Cost of answering and learning from a frame", ("method", "cost", "reference"), rows, note)


def write_bench_report(out: Path, report: BenchReport, lead: Sequence[Section] = ()) -> Path:
    """Write everything to `out` and return the page.

    Args:
        lead: what the page shows before the tables of all methods.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_json(out / RESULTS, _json(report))
    tables = [to_markdown(protocol_table(found)) for found in report.protocols]
    write_text_atomic(out / TABLES, "\n".join([*(f"- {line}" for line in opening_lines(report)), "", *tables]))
    missing = plots_missing()
    sections = [
        Section("What was run", paragraphs=[*opening_lines(report), *([missing] if missing else [])]),
        *lead,
    ]
    for found in report.protocols:
        pictures = [] if missing else _pictures(out, found)
        sections.append(Section(found.protocol, tables=[protocol_table(found)], pictures=pictures))
    sections += [
        Section("Methods", tables=[frame_cost_table(_methods(report))], details=_hyper_parameters(report)),
        Section("Settings", details=report.settings.model_dump(mode="json")),
        Section("Machine", details=describe_machine()),
    ]
    write_page(out / PAGE, "moase-edge benchmark", sections)
    return out / PAGE


def _json(report: BenchReport) -> dict[str, Any]:
    """What repeats, and, in a block of its own, what was measured."""
    return {
        "source_error": {found.protocol: found.source.error for found in report.protocols},
        "subject": report.subject,
        "settings": report.settings.model_dump(mode="json"),
        "frame_costs": {name: frame_cost(name) for name in _methods(report)},
        "methods": _hyper_parameters(report),
        "protocols": {
            found.protocol: {
                "frames": found.frames,
                "window": found.window,
                "methods": {name: result.plain() for name, result in found.methods.items()},
            }
            for found in report.protocols
        },
        "machine": describe_machine(),
        "measured": {
            found.protocol: {name: result.measured for name, result in found.methods.items()}
            for found in report.protocols
        },
    }


def _methods(report: BenchReport) -> list[str]:
    return list(dict.fromkeys(name for found in report.protocols for name in found.methods))


def _hyper_parameters(report: BenchReport) -> dict[str, Any]:
    """As published, or, of the shipped method, as set."""
    settings = report.settings
    shipped = {**settings.moase.model_dump(mode="json"), **settings.adapt.model_dump(mode="json")}
    return {
        name: {
            "hyper_parameters": shipped if name == SHIPPED else method_spec(name).hyper_parameters,
            "reference": method_spec(name).reference,
            "whole_network": method_spec(name).whole_network,
        }
        for name in _methods(report)
    }


def _brief(result: MethodResult) -> dict[str, Any]:
    return {
        "forgetting": Percent(result.forgetting.mean),
        "updates": result.updates,
        "ms/frame": result.ms_per_frame,
    }


def _further(result: MethodResult) -> dict[str, Any]:
    troubles = {"failures": result.failures, "unanswered": result.unanswered}
    return {
        "forgetting": result.forgetting,
        "ECE (%)": result.calibration_error,
        "to recover": math.nan if result.recovery_frames is None else result.recovery_frames,
        "frozen (%)": Percent(100 * result.share_frozen),
        "updates": result.updates,
        "rollbacks": result.rollbacks,
        **{name: count for name, count in troubles.items() if count},
        "cost": frame_cost(result.name),
        "ms/frame": result.ms_per_frame,
        "peak MiB": round(result.peak_memory_mib) if math.isfinite(result.peak_memory_mib) else math.nan,
    }


def _pictures(out: Path, found: ProtocolResult) -> list[Picture]:
    stem = file_stem(found.protocol)
    errors = {name: result.error_by_domain for name, result in found.methods.items()}
    paths = {kind: out / f"{stem}-{kind}.png" for kind in ("matrix", "bars", "time", "cost")}
    plot_error_matrix(paths["matrix"], errors, reference=SOURCE, title=f"Error by domain, {found.protocol}")
    chosen = _chosen(found)
    plot_errors_by_domain(paths["bars"], {name: errors[name] for name in chosen}, f"Error, {found.protocol}")
    marks = found.marks if len(found.marks) <= _MOST_MARKS else ()
    traces = {name: result.trace for name, result in found.methods.items()}
    plot_error_over_time(
        paths["time"], traces, marks=marks, title=f"Error over {found.window} frames, {found.protocol}"
    )
    pictures = [
        Picture(paths["matrix"], f"Error of each method in each domain under {found.protocol}"),
        Picture(paths["bars"], f"Error by domain of {', '.join(chosen)}", "The source, the best, what ships."),
        Picture(paths["time"], f"Running error of each method under {found.protocol}", "The first seed."),
    ]
    if points := _cost_points(found):
        plot_error_against_cost(paths["cost"], points, title=f"Error against cost, {found.protocol}")
        about = f"Error against milliseconds a frame of each method under {found.protocol}"
        pictures.append(Picture(paths["cost"], about, "Measured here, in units of the source's frame."))
    return pictures


def _chosen(found: ProtocolResult) -> list[str]:
    """The source, the method of least error, and what ships."""
    best = min(found.methods, key=lambda name: found.methods[name].error.mean)
    return [name for name in dict.fromkeys((SOURCE, best, SHIPPED)) if name in found.methods]


def _cost_points(found: ProtocolResult) -> dict[str, tuple[float, float, float, float]]:
    """Cost in units of the source's frame, error, and the interval of the difference laid around the error.

    Without those whose time is not known; none where the source's is not.
    """
    unit = found.source.ms_per_frame
    points: dict[str, tuple[float, float, float, float]] = {}
    for name, result in found.methods.items():
        if not (0 < unit < math.inf and 0 < result.ms_per_frame < math.inf):
            continue
        low = high = math.nan
        if result.difference is not None:
            mean = result.difference.mean
            low, high = (min(max(found.source.error.mean + end, 0.0), 100.0) for end in (mean.low, mean.high))
        points[name] = (result.ms_per_frame / unit, result.error.mean, low, high)
    return points
