"""The engines that an artifact lacks on this device; plans of its graphs need no PyTorch, timm or onnx."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from moase_edge.artifact.manifest import EngineEntry, Manifest, SourceStatisticsEntry
from moase_edge.artifact.order import put_before_alike, put_beside, put_first, told_of_plans
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.config.names import LowerPrecision
from moase_edge.engines.tensorrt.fit import differences
from moase_edge.errors import ConfigError
from moase_edge.export.plan_targets import PlanBuild, PlanRequest, plan_builds
from moase_edge.export.plans import build_plans, plan_entry
from moase_edge.export.wanted import (
    PrecisionRequest,
    graphs_to_build,
    has_bfloat16,
    lacking_precisions,
    refuse_needless_images,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for.

    Attributes:
        plans: how plans are built.
        builds: for which devices; none for graphs alone.
        precision: to run in; None leaves that as it is.
        lacking: precisions whose graph has to be made.
        spoilt: plans that were found damaged or missing, and count as lacking.
    """

    plans: PlanRequest
    builds: tuple[PlanBuild, ...]
    precision: PrecisionRequest | None
    lacking: tuple[LowerPrecision, ...]
    spoilt: tuple[EngineEntry, ...] = ()


def rebuild_artifact(
    folder: Path,
    request: PlanRequest,
    *,
    precision: PrecisionRequest | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Artifact:
    """Make what is asked for and not there, and put an artifact that has it in the old one's place.

    Everything else stays byte for byte, and so do identity and date. Nothing is written where nothing is lacking.

    Args:
        request: plans; of the graph that is to run, or of `precision`.
        precision: to run in from now on; a graph that is not there is made, which takes onnx and PyTorch.

    Raises:
        ConfigError: nothing is asked for, or see `plan_builds` and `wanted_precisions`, or its folder cannot
            be replaced.
        ArtifactError: it cannot be trusted, or was changed meanwhile.
        EngineError: no TensorRT here can build what is asked for.
        ExportError: a graph that cannot be built.
        CalibrationError, SourceError: images that cannot be used.
        GateError: parity of a new precision with fp32 does not hold.
        StorageError: the folder's place cannot be written.
    """
    announce = on_stage or logger.info
    if request.engine == "ort" and precision is None:
        raise ConfigError(
            "ONNX Runtime runs the artifact's graphs as they are. Give --engine tensorrt or another, or a "
            "--precision whose graph is to be made."
        )
    announce("checking the artifact")
    artifact = load_artifact(folder, verify=False)
    sound, spoilt = _without_spoilt(artifact)
    wanted = replace(_wanted(sound.manifest, request, precision), spoilt=spoilt)
    if not wanted.lacking and not spoilt and not _changes(artifact.manifest, wanted):
        return artifact
    change = partial(_add, artifact=sound, wanted=wanted, announce=announce)
    return replace_artifact(artifact, change, dropped=[entry.file for entry in spoilt])


def _without_spoilt(artifact: Artifact) -> tuple[Artifact, tuple[EngineEntry, ...]]:
    """The artifact with those plans alone that are as its manifest says, and the others."""
    faults = artifact.spoilt_plans()
    for fault in faults.values():
        logger.warning("%s: it is built anew where it is asked for, else left out", fault)
    engines = artifact.manifest.engines
    kept = tuple(entry for entry in engines if entry.file not in faults)
    sound = Artifact(artifact.folder, artifact.manifest.model_copy(update={"engines": kept}))
    return sound, tuple(entry for entry in engines if entry.file in faults)


def _wanted(manifest: Manifest, request: PlanRequest, precision: PrecisionRequest | None) -> _Wanted:
    if precision is None:
        return _Wanted(request, plan_builds(request, required=True), None, ())
    # Where a graph is made, there is something to show for it also without the TensorRT that builds its plan.
    required = not lacking_precisions(manifest, precision, ())
    builds = plan_builds(request, required=required, deferred=precision.choice == "auto")
    targets = [build.target for build in builds] or request.targets
    lacking = lacking_precisions(manifest, precision, targets)
    if not lacking:
        refuse_needless_images(precision)
    return _Wanted(request, builds, precision, lacking)


def _changes(manifest: Manifest, wanted: _Wanted) -> bool:
    """Whether there is a plan to build, or an order to change, where no graph is made."""
    if _pairs(manifest, wanted) or _undecided(manifest, wanted) != manifest.undecided:
        return True
    if _targets(manifest, wanted) != manifest.targets:
        return True
    return _ordered(manifest.engines, wanted) != manifest.engines


def _pairs(manifest: Manifest, wanted: _Wanted) -> list[tuple[PlanBuild, EngineEntry]]:
    """Plans to build from graphs that the artifact has, or will have."""
    asked = wanted.precision
    graphs = manifest.plan_graphs() if asked is None else graphs_to_build(manifest.engines, asked)
    spoilt = {entry.source for entry in wanted.spoilt}
    graphs = (*graphs, *(entry for entry in manifest.engines if entry.file in spoilt and entry not in graphs))
    return lacking_plans(manifest, wanted.builds, wanted.plans, graphs)


def _undecided(manifest: Manifest, wanted: _Wanted) -> bool:
    """Whether the first run decides which engine is the fastest."""
    return manifest.undecided if wanted.precision is None else wanted.precision.choice == "auto"


def _targets(manifest: Manifest, wanted: _Wanted) -> tuple[str, ...]:
    """Devices that the artifact is meant for without a plan; those that are left to the device come new."""
    return manifest.targets if wanted.builds or not wanted.plans.targets else wanted.plans.targets


def _ordered(engines: Sequence[EngineEntry], wanted: _Wanted) -> tuple[EngineEntry, ...]:
    """The engines in the order of choice."""
    graphs = [entry for entry in engines if entry.runtime == "onnx"]
    asked = {plan_entry(graph, build, wanted.plans.settings).file for build in wanted.builds for graph in graphs}
    ordered = put_before_alike(engines, asked)
    if wanted.precision is None or wanted.precision.choice == "auto":
        return ordered
    return put_first(ordered, wanted.precision.choice)


def lacking_plans(
    manifest: Manifest,
    builds: tuple[PlanBuild, ...],
    request: PlanRequest,
    graphs: Sequence[EngineEntry] | None = None,
) -> list[tuple[PlanBuild, EngineEntry]]:
    """Builds, each with a graph, of which the artifact has no plan that was made the same way and runs here.

    Args:
        graphs: to build from; None for the artifact's `plan_graphs`. What is in bfloat16 is left out for a GPU
            that has none.
    """
    found = manifest.plan_graphs() if graphs is None else graphs
    wanted = [(build, graph) for build in builds for graph in found if _computes(build, graph)]
    return [
        (build, graph)
        for build, graph in wanted
        if not any(
            _recipe(entry) == _recipe(plan_entry(graph, build, request.settings)) and _runs(entry, build)
            for entry in manifest.engines
        )
    ]


def _computes(build: PlanBuild, graph: EngineEntry) -> bool:
    return graph.precision != "bf16" or has_bfloat16(build.target)


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
    building: Path, *, artifact: Artifact, wanted: _Wanted, announce: Callable[[str], None]
) -> dict[str, Any]:
    """Write what is lacking into the new folder, and give the manifest's fields that change."""
    manifest = artifact.manifest
    graphs, statistics = _graphs(artifact, building, wanted, announce)
    there = Artifact(
        artifact.folder,
        manifest.model_copy(
            update={"engines": (*manifest.engines, *graphs), "undecided": _undecided(manifest, wanted)}
        ),
    )
    made = _plans(there, building, wanted, announce)
    announce("writing the artifact")
    engines = _ordered(put_beside(there.manifest.engines, made), wanted)
    if wanted.precision is not None and (told := told_of_plans(engines, artifact.folder)):
        logger.warning("%s", told)
    return {
        "engines": engines,
        "undecided": there.manifest.undecided,
        "targets": _targets(manifest, wanted),
        "source_statistics": statistics,
    }


def _plans(there: Artifact, building: Path, wanted: _Wanted, announce: Callable[[str], None]) -> list[EngineEntry]:
    """Write the plans that are lacking; while it is undecided which runs, one for each device is enough."""
    manifest, made = there.manifest, list[EngineEntry]()
    pairs = _pairs(manifest, wanted)
    for build in wanted.builds:
        planned = any(_target(entry) == build.target and _runs(entry, build) for entry in manifest.engines)
        made += build_plans(
            building,
            [graph for other, graph in pairs if other == build],
            [build],
            wanted.plans.settings,
            announce=announce,
            source=there.folder,
            needed=int(not planned) if manifest.undecided else None,
        )
    return made


def _target(entry: EngineEntry) -> str | None:
    return None if entry.built_for is None else entry.built_for.target


def _graphs(
    artifact: Artifact, building: Path, wanted: _Wanted, announce: Callable[[str], None]
) -> tuple[tuple[EngineEntry, ...], tuple[SourceStatisticsEntry, ...]]:
    """New graphs, and the statistics that the artifact has with them; PyTorch and onnx are imported here."""
    if wanted.precision is None or not wanted.lacking:
        return (), artifact.manifest.source_statistics
    from moase_edge.export.added import add_graphs

    added = add_graphs(artifact, building, wanted.lacking, wanted.precision, announce)
    return added.graphs, added.statistics
