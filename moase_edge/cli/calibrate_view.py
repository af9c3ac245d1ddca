"""What `calibrate` shows."""

from __future__ import annotations

from rich.console import Console

from moase_edge.artifact.store import Artifact
from moase_edge.cli.inspect_view import statistics_line


def show(artifact: Artifact) -> None:
    """What the artifact holds now."""
    line = statistics_line(artifact.manifest.source_statistics)
    Console().print(
        f"{artifact.folder}\n  source statistics: {line}", markup=False, highlight=False, soft_wrap=True
    )
