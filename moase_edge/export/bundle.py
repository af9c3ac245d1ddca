"""Make an artifact: build, cut, export, check, write; whole or not at all."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import torch

from moase_edge.adapt.sidecar import Sidecar, new_sidecar, save_sidecar
from moase_edge.artifact.files import new_folder, refuse_existing, refuse_unnamed
from moase_edge.artifact.manifest import EngineEntry, Provenance, SourceStatisticsEntry
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, write_manifest
from moase_edge.calib.source_data import open_source_data, write_source_statistics
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, require_onnxruntime
from moase_edge.errors import GateError
from moase_edge.export.onnx import export_onnx
from moase_edge.export.parity import ParityReport, check_parity
from moase_edge.export.plan_targets import PlanBuild, PlanRequest, plan_builds, plan_options
from moase_edge.export.plans import build_plans
from moase_edge.export.provenance import identity_of, installed_versions, reproduce_script
from moase_edge.frames.source import Source
from moase_edge.models.build import Backbone, build_backbone
from moase_edge.models.labels import read_labels
from moase_edge.models.split import sidecar_spec, sidecar_state, tensor_specs
from moase_edge.models.steer import cut
from moase_edge.version import __version__

ONNX_FILE = "backbone.onnx"
SIDECAR_FILE = "sidecar.safetensors"
PARITY_FILE = "parity.json"
SCRIPT_FILE = "reproduce.sh"


logger = logging.getLogger(__name__)

# Is told, in a short phrase for people, which stage of an export begins.
StageListener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export.

    Attributes:
        backbone: short name, timm's name, or `digits_vit`.
        checkpoint, pretrained, num_classes, seed: as `build_backbone` takes them.
        labels: file with a name per class.
        adapt_blocks: k, how many of the last blocks get an adapter.
        moase: settings of the adapters.
        source_data: folder or glob of pictures, or a video, of the source domain; None records no statistics.
        steer: the engine takes a shift at the entrance of every block and returns token means.
        plans: which TensorRT plans are built from the graphs.
    """

    backbone: str
    checkpoint: Path | None = None
    pretrained: bool | None = None
    num_classes: int | None = None
    labels: Path | None = None
    adapt_blocks: int = 1
    moase: MoaseSettings = field(default_factory=MoaseSettings)
    seed: int = 0
    source_data: str | None = None
    steer: bool = True
    plans: PlanRequest = field(default_factory=PlanRequest)


def export_artifact(
    request: ExportRequest, out: Path, *, force: bool = False, on_stage: StageListener | None = None
) -> Artifact:
    """Export a backbone to a new artifact folder.

    Raises:
        ConfigError: unknown name, labels that do not fit, or `out` exists or is no place for an artifact.
        EngineError: ONNX Runtime, which the parity check needs, is missing, or the TensorRT that is asked for.
        CheckpointError, ExportError: the weights or the graph.
        SourceError, CalibrationError: the source images; nothing is written.
        GateError: parity with in-block MoASE does not hold; nothing is written.
        StorageError: `out` cannot be written.
    """
    announce = on_stage or logger.info
    refuse_existing(out, force=force, marker=MANIFEST)
    refuse_unnamed(out)
    require_onnxruntime()
    builds = plan_builds(request.plans)
    # Opened before the long work, which images that are not there would make useless.
    with (
        open_source_data(request.source_data)
        if request.source_data is not None
        else contextlib.nullcontext() as images
    ):
        _export(request, images, builds, out, force=force, announce=announce)
    return load_artifact(out, verify=False)


def _export(
    request: ExportRequest,
    images: Source | None,
    builds: tuple[PlanBuild, ...],
    out: Path,
    *,
    force: bool,
    announce: StageListener,
) -> None:
    announce("building the backbone")
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
    with new_folder(out, force=force, marker=MANIFEST) as folder:
        opset = _write_engine(backbone, sidecar, folder, announce, steer=request.steer)
        with contextlib.closing(OnnxRuntimeEngine(folder / ONNX_FILE)) as engine:
            announce("checking parity with in-block MoASE")
            parity = _check(backbone, sidecar, engine, seed=request.seed)
            statistics = None
            if images is not None:
                announce("recording source statistics")
                statistics = _record(backbone, sidecar, engine, images, folder)
        graphs = (EngineEntry(file=ONNX_FILE, opset=opset),)
        plans = build_plans(folder, graphs, builds, request.plans.settings, announce=announce)
        announce("writing the artifact")
        _write_rest(
            request,
            backbone,
            sidecar,
            parity,
            folder,
            labels=labels,
            engines=graphs + plans,
            statistics=statistics,
        )


def _fitting(labels: tuple[str, ...] | None, classes: int) -> tuple[str, ...] | None:
    return labels if labels is not None and len(labels) == classes else None


def _write_engine(
    backbone: Backbone, sidecar: Sidecar, folder: Path, announce: StageListener, *, steer: bool
) -> int:
    announce("exporting the frozen backbone to ONNX")
    size = (backbone.preprocess.height, backbone.preprocess.width)
    inputs, outputs = tensor_specs(sidecar.spec, *size, steer=steer)
    with torch.no_grad():
        return export_onnx(cut(backbone.model, sidecar.spec, steer=steer), inputs, outputs, folder / ONNX_FILE)


def _check(backbone: Backbone, sidecar: Sidecar, engine: Engine, *, seed: int) -> ParityReport:
    size = (backbone.preprocess.height, backbone.preprocess.width)
    report = check_parity(backbone.model, engine, sidecar, size=size, seed=seed)
    if report.failures:
        worst = ", ".join(f"{name} {report.median(name):.2e}" for name in report.failures)
        raise GateError(
            f"parity with in-block MoASE in PyTorch does not hold: {worst}; the tolerance is "
            f"{report.tolerance:.0e} (median over images, relative). Nothing was written. "
            "Try another version of torch or onnxruntime."
        )
    return report


def _record(
    backbone: Backbone, sidecar: Sidecar, engine: Engine, images: Source, folder: Path
) -> SourceStatisticsEntry:
    return write_source_statistics(
        folder, engine, sidecar, backbone.preprocess, images, precision="fp32", command="export"
    )


def _write_rest(
    request: ExportRequest,
    backbone: Backbone,
    sidecar: Sidecar,
    parity: ParityReport,
    folder: Path,
    *,
    labels: tuple[str, ...] | None,
    engines: tuple[EngineEntry, ...],
    statistics: SourceStatisticsEntry | None,
) -> None:
    spec, moase = sidecar.spec, request.moase
    provenance = Provenance(
        backbone=backbone.name,
        architecture=backbone.architecture,
        weights=backbone.weights,
        checkpoint=backbone.checkpoint,
        checkpoint_sha256=backbone.checkpoint_sha256,
        seed=request.seed,
        versions=installed_versions(),
    )
    size = (backbone.preprocess.height, backbone.preprocess.width)
    inputs, outputs = tensor_specs(spec, *size, steer=request.steer)
    save_sidecar(sidecar, folder / SIDECAR_FILE)
    (folder / PARITY_FILE).write_text(json.dumps(parity.as_json(), indent=1) + "\n", encoding="utf-8")
    script = folder / SCRIPT_FILE
    script.write_text(
        reproduce_script(
            provenance,
            request.adapt_blocks,
            moase,
            spec.classes,
            labels=request.labels is not None,
            statistics=statistics,
            steer=request.steer,
            plans=plan_options(request.plans),
        ),
        encoding="utf-8",
    )
    script.chmod(0o755)
    write_manifest(
        folder,
        {
            "created_at": datetime.now(timezone.utc),
            "moase_edge_version": __version__,
            "name": backbone.name,
            "labels": labels,
            "identity": identity_of(
                backbone.model, sidecar, spec, moase, backbone.preprocess, steer=request.steer
            ),
            "provenance": provenance,
            "preprocess": backbone.preprocess,
            "inputs": inputs,
            "outputs": outputs,
            "steerable": request.steer,
            "sidecar": spec,
            "moase": moase,
            "engines": engines,
            "parity": parity.figures(),
            "source_statistics": () if statistics is None else (statistics,),
        },
    )
