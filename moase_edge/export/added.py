"""Graphs in other precisions, made from the fp32 one of an artifact that is there as an export makes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from moase_edge.adapt.sidecar import Sidecar, load_sidecar
from moase_edge.artifact.manifest import EngineEntry, Precision, SourceStatisticsEntry
from moase_edge.artifact.store import Artifact
from moase_edge.calib.engine_parity import Reference, moved
from moase_edge.calib.evidence import add_evidence
from moase_edge.calib.on_site import beside_others, without_statistics
from moase_edge.calib.probe import write_probe
from moase_edge.calib.source_data import open_source_data, write_source_statistics
from moase_edge.calib.twin import graph_of, open_each, open_twin
from moase_edge.config.names import LowerPrecision
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import ExportError
from moase_edge.export.precision import PrecisionBench
from moase_edge.export.shown import read_calibration, shown_pictures
from moase_edge.export.wanted import PrecisionRequest
from moase_edge.export.write import SIDECAR_FILE

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Added:
    """What was written into the folder of an artifact that is being built.

    Attributes:
        graphs: the manifest's entries of those that hold parity.
        statistics: the manifest's entries, old and new.
    """

    graphs: tuple[EngineEntry, ...]
    statistics: tuple[SourceStatisticsEntry, ...]


def add_graphs(
    artifact: Artifact,
    building: Path,
    precisions: Sequence[LowerPrecision],
    request: PrecisionRequest,
    announce: Callable[[str], None],
) -> Added:
    """Make graphs in other precisions from the fp32 one; parity, evidence and statistics are those of an export.

    Args:
        artifact: loaded and verified; it lacks these precisions.
        building: folder of its successor.
        precisions: one at least; of a choice that is no `auto`, that one.

    Raises:
        ExportError: the artifact has no fp32 graph.
        CalibrationError, SourceError, ConfigError: images that cannot be used.
        GateError: parity with fp32 does not hold; of `auto` never, which drops what fails.
    """
    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path(SIDECAR_FILE), manifest.sidecar, manifest.moase)
    bench = _bench(artifact, building, sidecar, request, announce)
    settled = bench.undecided(precisions) if request.choice == "auto" else bench.asked(precisions[0])
    graphs = tuple(entry for entry in settled.graphs if entry.precision != "fp32")
    add_evidence(artifact, building, settled.evidence)
    made = [entry.precision for entry in graphs]
    if not made or request.source_data is None:
        _tell_of_statistics(artifact, made)
        return Added(graphs, manifest.source_statistics)
    announce("recording source statistics")
    return Added(graphs, _statistics(artifact, building, sidecar, graphs, request.source_data))


def _bench(
    artifact: Artifact,
    building: Path,
    sidecar: Sidecar,
    request: PrecisionRequest,
    announce: Callable[[str], None],
) -> PrecisionBench:
    """What builds the candidates, and compares each with the artifact's fp32 graph; with frames a new probe."""
    manifest, exact = artifact.manifest, graph_of(artifact.manifest, "fp32")
    if exact is None or exact.opset is None:
        raise ExportError(
            f"{artifact.folder} holds no fp32 graph to make another precision from. Export it again."
        )
    calibration = read_calibration(request.calib_data, manifest.preprocess, announce)
    seed = manifest.provenance.seed
    settings = request.settings or PrecisionSettings(thresholds=manifest.thresholds)
    shown = shown_pictures(calibration, request.source_data, manifest.preprocess, settings, seed=seed)
    with closing(OnnxRuntimeEngine(artifact.path(exact.file))) as engine:
        reference = Reference(engine, moved(sidecar, seed), shown)
        if calibration is not None:
            write_probe(engine, shown, building)
    return PrecisionBench(
        building,
        exact.opset,
        reference,
        settings,
        exact=artifact.path(exact.file),
        calibration=calibration,
        quantise=request.quantise,
        announce=announce,
    )


def _statistics(
    artifact: Artifact, building: Path, sidecar: Sidecar, graphs: Sequence[EngineEntry], source_data: str
) -> tuple[SourceStatisticsEntry, ...]:
    """Of the new precisions, and of every other one that has none."""
    manifest = artifact.manifest
    with ExitStack() as stack:
        images = stack.enter_context(open_source_data(source_data))
        engines = open_each(artifact, without_statistics(manifest), stack)
        for entry in graphs:
            twin = open_twin(building / entry.file, entry.precision)
            engines[entry.precision] = stack.enter_context(closing(twin))
        made = write_source_statistics(building, engines, sidecar, manifest.preprocess, images, command="export")
    return beside_others(manifest, made)


def _tell_of_statistics(artifact: Artifact, made: Sequence[Precision]) -> None:
    if made:
        logger.warning(
            "there are no source statistics at %s, so that `run` corrects nothing there. Give --source-data, or "
            "record them: `moase-edge calibrate --artifact %s --source DIR`.",
            ", ".join(made),
            artifact.folder,
        )
