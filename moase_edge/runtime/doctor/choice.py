"""What `run` would take on this machine for an artifact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moase_edge.artifact.store import DEFAULT_ROOT, Artifact, load_artifact, newest_artifact
from moase_edge.engines.choose import choices
from moase_edge.engines.open import survey
from moase_edge.errors import MoaseEdgeError
from moase_edge.runtime.doctor.finding import Finding

PART = "artifact"


def look_at_artifact(folder: Path | None, root: Path = DEFAULT_ROOT) -> Iterator[Finding]:
    """The artifact that was named or is the newest, whether it is whole, and the engine that would run it.

    Args:
        folder: None for the newest below `root`.
    """
    try:
        artifact = load_artifact(newest_artifact(root) if folder is None else folder)
    except MoaseEdgeError as exc:
        yield Finding(PART, str(folder or root), str(exc), "note" if folder is None else "bad")
        return
    yield Finding(PART, str(artifact.folder), f"{artifact.manifest.name}, every hash as the manifest says")
    yield _engine(artifact)
    yield _statistics(artifact)


def _engine(artifact: Artifact) -> Finding:
    try:
        best = choices(artifact.manifest.engines, survey(artifact))[0]
    except MoaseEdgeError as exc:
        return Finding(PART, "engine", str(exc), "bad")
    if artifact.manifest.undecided:
        precisions = ", ".join(dict.fromkeys(entry.precision for entry in artifact.manifest.engines))
        told = f"undecided: the first run measures which of {precisions} is the fastest here"
        return Finding(PART, "engine", told)
    return Finding(PART, "engine", f"{best.runner} runs {best.entry.file} ({best.entry.precision}): {best.reason}")


def _statistics(artifact: Artifact) -> Finding:
    found = ", ".join(entry.precision for entry in artifact.manifest.source_statistics)
    if not found:
        return Finding(
            PART,
            "source statistics",
            "none, so nothing adapts by default",
            "missing",
            f"`moase-edge calibrate --artifact {artifact.folder} --source PICTURES` records them.",
        )
    return Finding(PART, "source statistics", f"of {found}")
