"""What a report says of a pipeline besides its figures."""

from __future__ import annotations

from typing import Any

from moase_edge.artifact.store import Artifact
from moase_edge.config.adapt import AdaptSettings
from moase_edge.engines.base import Engine, precision_of


def facts_of(
    artifact: Artifact, engine: Engine, learning: AdaptSettings | None, budget_ms: float | None
) -> dict[str, Any]:
    """Artifact, engine and settings; `learning` is None where nothing is learned."""
    return {
        "artifact": str(artifact.folder),
        "identity": artifact.manifest.identity,
        "engine": engine.name,
        "precision": precision_of(engine),
        "moase": artifact.manifest.moase.model_dump(mode="json"),
        "learner": None if learning is None else learning.model_dump(mode="json"),
        "budget_ms": budget_ms,
    }
