"""Make an artifact: build, cut, export, check, write; whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from moase_edge.adapt.sidecar import new_sidecar
from moase_edge.artifact.files import new_folder, refuse_existing, refuse_unnamed
from moase_edge.artifact.manifest import EngineEntry, Precision, SourceStatisticsEntry
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact
from moase_edge.calib.engine_parity import Reference, moved
from moase_edge.calib.probe import write_probe
from moase_edge.calib.source_data import open_source_data, write_source_statistics
from moase_edge.calib.twin import GRAPH_FILE, graph_file, open_twin
from moase_edge.config.names import LowerPrecision
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, require_onnxruntime
from moase_edge.errors import GateError
from moase_edge.export.onnx import export_onnx
from moase_edge.export.parity import ParityReport, check_parity
from moase_edge.export.plan_targets import PlanBuild, plan_builds, plan_options
from moase_edge.export.plans import build_plans
from moase_edge.export.precision import PrecisionBench, Settled
from moase_edge.export.request import ExportRequest
from moase_edge.export.shown import read_calibration, shown_pictures
from moase_edge.export.wanted import wanted_precisions
from moase_edge.export.write import Built, Found, write_rest
from moase_edge.models.build import build_backbone
from moase_edge.models.labels import read_labels
from moase_edge.models.split import sidecar_spec, sidecar_state, tensor_specs
from moase_edge.models.steer import cut

ONNX_FILE = GRAPH_FILE

logger = logging.getLogger(__name__)

# Is told, in a short phrase for people, which stage of an export begins.
StageListener = Callable[[str], None]


def export_artifact(
    request: ExportRequest, out: Path, *, force: bool = False, on_stage: StageListener | None = None
) -> Artifact:
    """Export a backbone to a new artifact folder.

    Raises:
        ConfigError: unknown name, labels that do not fit, a precision that cannot be made, or `out` exists or is
            no place for an artifact.
        EngineError: ONNX Runtime, which the parity check needs, is missing, or the TensorRT that is asked for.
        CheckpointError, ExportError: the weights or the graph.
        SourceError, CalibrationError: the source images or the calibration frames; nothing is written.
        GateError: parity with in-block MoASE, or of the precision with fp32, does not hold; nothing is written.
        StorageError: `out` cannot be written.
    """
    announce = on_stage or logger.info
    refuse_existing(out, force=force, marker=MANIFEST)
    refuse_unnamed(out)
    require_onnxruntime()
    builds = plan_builds(request.plans, deferred=request.precision == "auto")
    wanted = wanted_precisions(
        request.precision,
        calibrated=request.calib_data is not None,
        targets=[build.target for build in builds] or request.plans.targets,
    )
    # Opened before the long work, which images that are not there would make useless.
    for uri in (request.source_data, request.calib_data):
        if uri is not None:
            open_source_data(uri).close()
    with new_folder(out, force=force, marker=MANIFEST) as folder:
        _export(request, wanted, builds, folder, announce)
    return load_artifact(out, verify=False)


def _export(
    request: ExportRequest,
    wanted: tuple[LowerPrecision, ...],
    builds: tuple[PlanBuild, ...],
    folder: Path,
    announce: StageListener,
) -> None:
    announce("building the backbone")
    built = _build(request)
    opset = _write_engine(built, folder, announce)
    with closing(OnnxRuntimeEngine(folder / ONNX_FILE)) as engine:
        announce("checking parity with in-block MoASE")
        parity = _check(built, engine, seed=request.seed)
        settled = _settle(built, wanted, builds, engine, opset, folder, announce)
    statistics = _record(built, settled, folder, announce)
    graphs, needed = (settled.graphs, 1) if settled.undecided else (settled.graphs[:1], None)
    left_out: dict[str, str] = {}
    plans = build_plans(
        folder, graphs, builds, request.plans.settings, announce=announce, needed=needed, left_out=left_out
    )
    announce("writing the artifact")
    write_rest(
        built,
        Found(parity, settled, plans, statistics, left_out),
        folder,
        plan_options=plan_options(request.plans),
    )


def _build(request: ExportRequest) -> Built:
    backbone = build_backbone(
        request.backbone,
        checkpoint=request.checkpoint,
        pretrained=request.pretrained,
        num_classes=request.num_classes,
        seed=request.seed,
    )
    spec = sidecar_spec(backbone.model, request.moase, request.adapt_blocks)
    labels = (
        read_labels(request.labels, spec.classes) if request.labels else _fitting(backbone.labels, spec.classes)
    )
    frozen = sidecar_state(backbone.model, request.adapt_blocks)
    sidecar = new_sidecar(spec, request.moase, frozen, seed=request.seed)
    return Built(request, backbone, sidecar, labels)


def _fitting(labels: tuple[str, ...] | None, classes: int) -> tuple[str, ...] | None:
    return labels if labels is not None and len(labels) == classes else None


def _write_engine(built: Built, folder: Path, announce: StageListener) -> int:
    announce("exporting the frozen backbone to ONNX")
    spec, steer, preprocess = built.sidecar.spec, built.request.steer, built.backbone.preprocess
    inputs, outputs = tensor_specs(spec, preprocess.height, preprocess.width, steer=steer)
    with torch.no_grad():
        return export_onnx(cut(built.backbone.model, spec, steer=steer), inputs, outputs, folder / ONNX_FILE)


def _check(built: Built, engine: Engine, *, seed: int) -> ParityReport:
    size = (built.backbone.preprocess.height, built.backbone.preprocess.width)
    report = check_parity(built.backbone.model, engine, built.sidecar, size=size, seed=seed)
    if report.failures:
        worst = ", ".join(f"{name} {report.median(name):.2e}" for name in report.failures)
        raise GateError(
            f"parity with in-block MoASE in PyTorch does not hold: {worst}; the tolerance is "
            f"{report.tolerance:.0e} (median over images, relative). Nothing was written. "
            "Try another version of torch or onnxruntime."
        )
    return report


def _settle(
    built: Built,
    wanted: tuple[LowerPrecision, ...],
    builds: tuple[PlanBuild, ...],
    engine: Engine,
    opset: int,
    folder: Path,
    announce: StageListener,
) -> Settled:
    """The graphs that the artifact keeps, and the frames that a device checks a plan by."""
    request, preprocess = built.request, built.backbone.preprocess
    calibration = read_calibration(request.calib_data, preprocess, announce)
    given = (preprocess, request.precisions)
    shown = shown_pictures(calibration, request.source_data, *given, seed=request.seed)
    # Source images stay with who exports; noise goes in their place.
    stored = shown if calibration is not None else shown_pictures(None, None, *given, seed=request.seed)
    write_probe(engine, stored, folder)
    if not wanted:
        return Settled((EngineEntry(file=ONNX_FILE, opset=opset),))
    bench = PrecisionBench(
        folder,
        opset,
        Reference(engine, moved(built.sidecar, request.seed), shown),
        request.precisions,
        calibration=calibration,
        quantise=request.quantise,
        announce=announce,
    )
    if request.precision != "auto":
        return bench.asked(wanted[0])
    # A plan is measured where it runs, and what is fastest as a graph says nothing about plans.
    return bench.undecided(wanted) if builds or request.plans.targets else bench.fastest(wanted)


def _record(
    built: Built, settled: Settled, folder: Path, announce: StageListener
) -> tuple[SourceStatisticsEntry, ...]:
    """Source statistics of every precision that is kept; one's error would look like a shift to another's."""
    if built.request.source_data is None:
        return ()
    precisions = tuple(dict.fromkeys(graph.precision for graph in settled.graphs))
    announce(f"recording source statistics at {', '.join(precisions)}")
    with ExitStack() as stack:
        images = stack.enter_context(open_source_data(built.request.source_data))
        engines: dict[Precision, Engine] = {
            precision: stack.enter_context(closing(open_twin(folder / graph_file(precision), precision)))
            for precision in precisions
        }
        return write_source_statistics(
            folder, engines, built.sidecar, built.backbone.preprocess, images, command="export"
        )
