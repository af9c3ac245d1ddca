"""Write what an export found: everything in the artifact's folder beside the engines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from moase_edge.adapt.sidecar import Sidecar, save_sidecar
from moase_edge.artifact.manifest import EngineEntry, Provenance, SourceStatisticsEntry
from moase_edge.artifact.store import write_manifest
from moase_edge.calib.evidence import PARITY_FILE
from moase_edge.export.parity import ParityReport
from moase_edge.export.precision import Settled
from moase_edge.export.provenance import identity_of, installed_versions, reproduce_script
from moase_edge.export.request import ExportRequest
from moase_edge.models.build import Backbone
from moase_edge.models.split import tensor_specs
from moase_edge.version import __version__

SIDECAR_FILE = "sidecar.safetensors"
SCRIPT_FILE = "reproduce.sh"


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """What was built for a request: the network, and the sidecar at its source state."""

    request: ExportRequest
    backbone: Backbone
    sidecar: Sidecar
    labels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Found:
    """What an export found out.

    Attributes:
        parity: with in-block MoASE in PyTorch.
        settled: graphs that are kept, and the evidence on precisions.
        plans: the manifest's entries of them.
        statistics: of source images, one a precision.
        left_out: why which plan could not be built, by file name.
    """

    parity: ParityReport
    settled: Settled
    plans: tuple[EngineEntry, ...]
    statistics: tuple[SourceStatisticsEntry, ...]
    left_out: dict[str, str]


def write_rest(built: Built, found: Found, folder: Path, *, plan_options: Sequence[str] = ()) -> None:
    """Write sidecar, parity, script and, last, the manifest.

    Args:
        plan_options: options of `export` that build the same plans.

    Raises:
        OSError: a file cannot be written.
    """
    provenance = _provenance(built)
    save_sidecar(built.sidecar, folder / SIDECAR_FILE)
    _write_parity(found, folder / PARITY_FILE)
    _write_script(built, found, provenance, plan_options, folder / SCRIPT_FILE)
    _write_manifest(built, found, provenance, folder)


def _provenance(built: Built) -> Provenance:
    backbone = built.backbone
    return Provenance(
        backbone=backbone.name,
        architecture=backbone.architecture,
        weights=backbone.weights,
        checkpoint=backbone.checkpoint,
        checkpoint_sha256=backbone.checkpoint_sha256,
        seed=built.request.seed,
        versions=installed_versions(),
    )


def _write_parity(found: Found, path: Path) -> None:
    content = {
        **found.parity.as_json(),
        "precisions": found.settled.evidence,
        **({"plans_left_out": found.left_out} if found.left_out else {}),
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_script(
    built: Built, found: Found, provenance: Provenance, plan_options: Sequence[str], path: Path
) -> None:
    request = built.request
    script = reproduce_script(
        provenance,
        request.adapt_blocks,
        request.moase,
        built.sidecar.spec.classes,
        labels=request.labels is not None,
        statistics=next(iter(found.statistics), None),
        steer=request.steer,
        plans=plan_options,
        precision=request.precision,
        calibrated=request.calib_data is not None,
    )
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


def _write_manifest(built: Built, found: Found, provenance: Provenance, folder: Path) -> None:
    request, backbone, spec = built.request, built.backbone, built.sidecar.spec
    size = (backbone.preprocess.height, backbone.preprocess.width)
    inputs, outputs = tensor_specs(spec, *size, steer=request.steer)
    identity = identity_of(
        backbone.model, built.sidecar, spec, request.moase, backbone.preprocess, steer=request.steer
    )
    fields = {
        "created_at": datetime.now(timezone.utc),
        "moase_edge_version": __version__,
        "name": backbone.name,
        "labels": built.labels,
        "identity": identity,
        "provenance": provenance,
        "preprocess": backbone.preprocess,
        "inputs": inputs,
        "outputs": outputs,
        "steerable": request.steer,
        "sidecar": spec,
        "moase": request.moase,
        "engines": found.settled.graphs + found.plans,
        "undecided": found.settled.undecided,
        "targets": () if found.plans else request.plans.targets,
        "parity": found.parity.figures(),
        "thresholds": request.precisions.thresholds,
        "source_statistics": found.statistics,
    }
    write_manifest(folder, fields)
