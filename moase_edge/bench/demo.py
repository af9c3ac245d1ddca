"""The demo: export a small model, stream drifting digits frozen and adapting, compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from moase_edge.artifact.files import refuse_existing, storage_errors
from moase_edge.bench.labelled_source import LabelledSource
from moase_edge.data.corruptions import corrupt
from moase_edge.data.digits import load_digits_split
from moase_edge.data.labelled import Domain, DomainStream, unchanged
from moase_edge.export.bundle import export_artifact
from moase_edge.export.request import ExportRequest
from moase_edge.report.files import write_json
from moase_edge.report.page import Picture, Section, write_page
from moase_edge.report.plots import plot_errors_by_domain, plots_missing
from moase_edge.report.tables import Table
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.record import RunRecord
from moase_edge.runtime.session import prepare_report_folder, run_and_report

BACKBONE = "digits_vit"
SUMMARY = "demo.json"
SEVERITY = 3
SOURCE_IMAGES = 200
# Names taken before any error was measured: noise, blur, weather and digital ones of the published benchmark, at
# its middle severity and with its constants for large pictures (those for 32 pixels hardly disturb digits).
CORRUPTED = ("gaussian_noise", "defocus_blur", "snow", "frost", "brightness", "contrast", "pixelate")
# Of those that the model was trained on: what it knows as its source.
SOURCE_PICTURES = 200
MODES = {"frozen": "off", "adapting": "every"}
_SHOWN_STAGES = ("capture", "preprocess", "engine", "sidecar", "update", "total")


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """Figures of both runs.

    Attributes:
        errors, latency: tables of frozen beside adapting.
        page: the HTML report.
        updates: steps taken while adapting.
    """

    errors: Table
    latency: Table
    page: Path
    updates: int


def run_demo(
    out: Path, *, frames_per_domain: int, seed: int, force: bool, on_stage: Callable[[str], None]
) -> DemoOutcome:
    """Run the demo and write artifact, both reports and a page that compares them to `out`.

    Raises:
        ConfigError: `out` exists, or scikit-learn is missing.
    """
    refuse_existing(out, force=force, marker=SUMMARY)
    stream = DomainStream(load_digits_split("test"), demo_domains(), frames_per_domain, seed)
    with storage_errors(out):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
    # Written first: it marks the folder as the demo's own, also if the demo is interrupted.
    write_json(out / SUMMARY, {"complete": False})
    artifact, source = out / "artifact", _written_source(out / "source")
    request = ExportRequest(BACKBONE, source_data=str(source))
    export_artifact(request, artifact, on_stage=lambda stage: on_stage(f"export: {stage}"))
    records = {}
    for name, mode in MODES.items():
        on_stage(f"streaming {frames_per_domain} frames of {1 + len(CORRUPTED)} domains, {name}")
        records[name] = _stream(artifact, out / name, mode, stream, seed)
    on_stage("writing the report")
    return _write(out, records, frames_per_domain=frames_per_domain, seed=seed)


def _written_source(folder: Path) -> Path:
    """Training pictures in a folder, as `export --source-data` takes them."""
    with storage_errors(folder):
        folder.mkdir()
        for index, image in enumerate(load_digits_split("train").images[:SOURCE_PICTURES]):
            written = cv2.imencode(".png", image)[1]
            (folder / f"{index:03}.png").write_bytes(written.tobytes())
    return folder


def demo_domains() -> list[Domain]:
    """Clean digits, then each corruption."""
    corrupted = [Domain(name, partial(_corrupted, name=name)) for name in CORRUPTED]
    return [Domain("clean", unchanged), *corrupted]


def _corrupted(image: Any, rng: Any, *, name: str) -> Any:
    return corrupt(image, name, SEVERITY, rng, constants="imagenet")


def _stream(artifact: Path, folder: Path, mode: str, stream: DomainStream, seed: int) -> RunRecord:
    prepare_report_folder(folder, force=False)
    with closing(Pipeline.open(artifact, adapt=mode)) as pipeline:
        source = LabelledSource(stream, "drifting digits")
        run_and_report(pipeline, source, folder, facts={**pipeline.facts, "seed": seed}, on_result=_ignore)
        return pipeline.record


def _ignore(_result: object) -> None:
    """The record already keeps what the demo shows."""


def _write(out: Path, records: dict[str, RunRecord], *, frames_per_domain: int, seed: int) -> DemoOutcome:
    errors = {name: record.errors for name, record in records.items()}
    by_domain = {name: counter.by_domain() for name, counter in errors.items()}
    outcome = DemoOutcome(
        errors=_error_table(records),
        latency=_latency_table(records),
        page=out / "report.html",
        updates=records["adapting"].counts["updates"],
    )
    facts = {
        "model": f"{BACKBONE}, trained on clean digits alone",
        "frames a domain": frames_per_domain,
        "severity": SEVERITY,
        "seed": seed,
        "updates": outcome.updates,
    }
    missing = plots_missing()
    pictures = []
    if not missing:
        picture = out / "errors.png"
        plot_errors_by_domain(picture, by_domain, title=f"Drifting digits, severity {SEVERITY}")
        pictures = [Picture(picture, "Error by domain, frozen and adapting")]
    intent = (
        f"The same {len(CORRUPTED) + 1} x {frames_per_domain} pictures, one domain after the other, answered by "
        "the frozen model, and by one that learned from each picture that showed something new, without its label "
        f"({outcome.updates} updates)."
    )
    sections = [
        Section("Drifting digits", paragraphs=[intent, *([missing] if missing else [])], details=facts),
        Section("Error", tables=[outcome.errors], pictures=pictures),
        Section("Latency", tables=[outcome.latency]),
        Section("Machine", details=describe_machine()),
    ]
    write_page(outcome.page, "moase-edge demo", sections)
    summaries = {name: record.summary() for name, record in records.items()}
    write_json(out / SUMMARY, {"complete": True, **facts, **summaries, "machine": describe_machine()})
    return outcome


def _error_table(records: dict[str, RunRecord]) -> Table:
    frozen, adapting = (records[name].errors for name in MODES)
    pairs = [(name, error, adapting.by_domain()[name]) for name, error in frozen.by_domain().items()]
    pairs.append(("mean", frozen.mean_over_domains(), adapting.mean_over_domains()))
    rows = [(name, error, adapted, adapted - error) for name, error, adapted in pairs]
    return Table("Error by domain (%)", ("domain", "frozen", "adapting", "difference"), rows)


def _latency_table(records: dict[str, RunRecord]) -> Table:
    summaries = {name: record.profile.summaries() for name, record in records.items()}
    missing = float("nan")
    rows = []
    for stage in _SHOWN_STAGES:
        found = [summaries[name].get(stage) for name in MODES]
        figures = [(s.p50_ms, s.p99_ms) if s else (missing, missing) for s in found]
        rows.append((stage, *figures[0], *figures[1]))
    columns = ("stage", "frozen p50", "frozen p99", "adapting p50", "adapting p99")
    return Table("Latency per frame (ms)", columns, rows, "Capture is the making of the corrupted picture.")
