"""What `calibrate` shows."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from moase_edge.artifact.calibration import CalibrationRecord
from moase_edge.artifact.store import Artifact
from moase_edge.calib.int8_report import PAGE, outcome_lines
from moase_edge.cli.inspect_view import statistics_line


def show(artifact: Artifact) -> None:
    """What the artifact holds now."""
    line = statistics_line(artifact.manifest.source_statistics)
    Console().print(
        f"{artifact.folder}\n  source statistics: {line}", markup=False, highlight=False, soft_wrap=True
    )


def announce(stage: str) -> None:
    """Say on stderr which stage begins, for those who wait."""
    Console(stderr=True).print(f"{stage} ...", markup=False, highlight=False)


def show_int8(record: CalibrationRecord, report: Path | None, *, first: bool) -> None:
    """What became of an int8 engine; `first` says whether it stands before the others."""
    lines = [f"  int8 engine: {record.engine}", *(f"    {line}" for line in outcome_lines(record))]
    lines += [] if first else ["  `run` takes it with --precision int8; with --first it stands before the others"]
    lines += [] if report is None else [f"  report: {report / PAGE}"]
    Console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
