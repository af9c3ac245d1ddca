"""The engines that an artifact lacks on this device; needs neither PyTorch nor timm nor onnx."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moase_edge.artifact.manifest import EngineEntry
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.engines.tensorrt.fit import differences
from moase_edge.errors import ConfigError
from moase_edge.export.plan_targets import PlanBuild, PlanRequest, plan_builds
from moase_edge.export.plans import build_plans, plan_entry

logger = logging.getLogger(__name__)


def rebuild_artifact(
    folder: Path, request: PlanRequest, *, on_stage: Callable[[str], None] | None = None
) -> Artifact:
    """Build the plans that are asked for and not there, and put an artifact that has them in the old one's place.

    Everything else stays byte for byte, and so do identity and date. Nothing is written where nothing is lacking.

    Raises:
        ConfigError: no plan is asked for, or see `plan_builds`, or its folder cannot be replaced.
        ArtifactError: it cannot be trusted, or was changed meanwhile.
        EngineError: no TensorRT here can build what is asked for.
        ExportError: a graph that cannot be built.
        StorageError: the folder's place cannot be written.
    """
    announce = on_stage or logger.info
    if request.engine == "ort":
        raise ConfigError(
            "ONNX Runtime runs the artifact's graphs as they are. Give --engine tensorrt or another."
        )
    builds = plan_builds(request, required=True)
    announce("checking the artifact")
    artifact = load_artifact(folder)
    lacking = lacking_plans(artifact, builds, request)
    if not lacking:
        return artifact
    return replace_artifact(artifact, lambda building: _add(artifact, building, lacking, request, announce))


def lacking_plans(
    artifact: Artifact, builds: tuple[PlanBuild, ...], request: PlanRequest
) -> list[tuple[PlanBuild, EngineEntry]]:
    """Builds, each with a graph, of which the artifact has no plan that was made the same way and runs here."""
    engines = artifact.manifest.engines
    wanted = [(build, graph) for build in builds for graph in artifact.manifest.plan_graphs()]
    return [
        (build, graph)
        for build, graph in wanted
        if not any(
            _recipe(entry) == _recipe(plan_entry(graph, build, request.settings)) and _runs(entry, build)
            for entry in engines
        )
    ]


def _runs(entry: EngineEntry, build: PlanBuild) -> bool:
    """Whether a plan is taken by the device that the build is for; so it is, where that is not at hand."""
    flavour, device = build.flavour, build.device
    return device is None or not differences(entry, flavour.name, flavour.version, device)


def _recipe(entry: EngineEntry) -> dict[str, Any] | None:
    """What tells one plan from another: not what was measured of it, nor the driver that served its building."""
    if entry.built_for is None:
        return None
    made_by = {"version": entry.built_for.versions.get(entry.runtime)}
    measured = {"file", "parity", "latency_ms", "measured_on"}
    return {
        **entry.model_dump(exclude={*measured, "built_for"}),
        **entry.built_for.model_dump(exclude={"versions"}),
        **made_by,
    }


def _add(
    artifact: Artifact,
    building: Path,
    lacking: list[tuple[PlanBuild, EngineEntry]],
    request: PlanRequest,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    made: list[EngineEntry] = []
    for build, graph in lacking:
        made += build_plans(
            building, [graph], [build], request.settings, announce=announce, source=artifact.folder
        )
    announce("writing the artifact")
    return {"engines": _beside(artifact.manifest.engines, made)}


def _beside(engines: Sequence[EngineEntry], made: Sequence[EngineEntry]) -> tuple[EngineEntry, ...]:
    """With each new plan behind the engines of its precision, because precisions stand in the order of choice."""
    names = {entry.file for entry in made}
    found = [entry for entry in engines if entry.file not in names]
    for plan in made:
        places = [place for place, entry in enumerate(found) if entry.precision == plan.precision]
        found.insert(max(places, default=len(found) - 1) + 1, plan)
    return tuple(found)
