"""What parity.json says of an artifact's precisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moase_edge.artifact.store import Artifact

if TYPE_CHECKING:
    from moase_edge.calib.engine_parity import EngineComparison

PARITY_FILE = "parity.json"


def evidence_of(comparison: EngineComparison, compared_on: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a precision that is kept.

    Args:
        comparison: with fp32.
        compared_on: what ran the engine, and which frames.
        form: how it was made.
    """
    return {"kept": True, "reason": None, **form, "compared_on": compared_on, **comparison.as_json()}


def left_out(artifact: Artifact) -> dict[str, str]:
    """Why, by precision, of those that were asked for and are not in the artifact."""
    precisions: dict[str, Any] = _content(artifact).get("precisions", {})
    return {name: found["reason"] for name, found in precisions.items() if found.get("kept") is False}


def add_evidence(artifact: Artifact, building: Path, evidence: Mapping[str, Any]) -> None:
    """Write the artifact's parity.json into the folder of its successor, with other precisions or newer figures.

    Args:
        evidence: by precision.

    Raises:
        OSError: it cannot be written.
    """
    content = _content(artifact)
    content["precisions"] = {**content.get("precisions", {}), **evidence}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (building / PARITY_FILE).write_text(text, encoding="utf-8")


def _content(artifact: Artifact) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(artifact.path(PARITY_FILE).read_text(encoding="utf-8"))
    return content
