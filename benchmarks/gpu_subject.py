"""What is measured: an artifact with a graph in every precision, and a plan of each from every TensorRT here."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from benchmarks.gpu_frames import Frames
from moase_edge.adapt.sidecar import Sidecar, load_sidecar
from moase_edge.artifact.manifest import EngineEntry, EngineRuntime
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.calib.engine_parity import Reference, moved
from moase_edge.calib.twin import graph_file
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.config.names import LowerPrecision, PlanEngine
from moase_edge.config.plan import PlanSettings
from moase_edge.config.precision import THRESHOLDS, GraphPrecision, ParityThresholds
from moase_edge.engines.choose import GRAPH_RUNNERS, Runner
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import EngineError, MoaseEdgeError
from moase_edge.export.bundle import ONNX_FILE, export_artifact
from moase_edge.export.candidates import Candidate, half_candidate, int8_candidate
from moase_edge.export.plan_targets import PlanBuild, PlanRequest, plan_builds
from moase_edge.export.plans import build_plans
from moase_edge.export.request import ExportRequest
from moase_edge.export.wanted import wanted_precisions
from moase_edge.export.write import SIDECAR_FILE
from moase_edge.models.build import build_backbone
from moase_edge.models.steer import cut
from moase_edge.report.files import read_json, write_json

# The most asked for first: a session on a GPU may be short.
PRECISIONS: tuple[GraphPrecision, ...] = ("fp32", "fp16", "int8", "bf16")

logger = logging.getLogger(__name__)

# Of graphs of random weights: built as real ones are, in the plain form of half, whatever they make of noise.
UNJUDGED: Mapping[GraphPrecision, ParityThresholds] = dict.fromkeys(
    PRECISIONS,
    ParityThresholds(cosine=-1, relative_error=1e9, logits=1e9, token_means=1e9, gradients=1e9, top1_agreement=0),
)

# By graph ("fp16") or plan ("tensorrt fp16"): how it was made, or under "absent" why it was not.
Made = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """An artifact to measure.

    Attributes:
        artifact: with every graph and plan that could be made.
        checkpoint: its weights; None for random ones.
        reference: what its fp32 graph makes of frames in ONNX Runtime on the CPU.
        made: graphs and plans, and why others are not there.
        folder: for what is built when an engine opens.
    """

    artifact: Artifact
    checkpoint: Path | None
    reference: Reference
    made: Made
    folder: Path

    def entry(self, runner: Runner, precision: GraphPrecision) -> EngineEntry:
        """The graph or plan in a precision that a runner takes.

        Raises:
            EngineError: there is none; says why.
        """
        runtime = "onnx" if runner in GRAPH_RUNNERS else runner
        for entry in self.artifact.manifest.engines:
            if (entry.runtime, entry.precision) == (runtime, precision):
                return entry
        for name in (precision, runner, f"{runner} {precision}"):
            if "absent" in self.made.get(name, {}):
                raise EngineError(str(self.made[name]["absent"]))
        raise EngineError(f"the artifact holds nothing in {precision} for {runner}")

    def module(self) -> nn.Module:
        """The same network in PyTorch, cut as the artifact's engine is."""
        manifest = self.artifact.manifest
        name, seed = manifest.provenance.backbone, manifest.provenance.seed
        backbone = build_backbone(name, checkpoint=self.checkpoint, pretrained=False, seed=seed)
        return cut(backbone.model, manifest.sidecar, steer=manifest.steerable)

    def sidecar(self) -> Sidecar:
        """At its source state, a new one each time."""
        return sidecar_of(self.artifact)

    def built(self, precision: GraphPrecision) -> Path:
        """The folder of what ONNX Runtime builds of the graph in a precision."""
        folder = self.folder / "built" / precision
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def sidecar_of(artifact: Artifact) -> Sidecar:
    """An artifact's sidecar at its source state."""
    manifest = artifact.manifest
    return load_sidecar(artifact.path(SIDECAR_FILE), manifest.sidecar, manifest.moase)


def make_subject(
    request: ExportRequest,
    frames_of: Callable[[Artifact], Frames],
    folder: Path,
    *,
    runners: Sequence[Runner],
    target: str | None,
    thresholds: Mapping[GraphPrecision, ParityThresholds] = THRESHOLDS,
) -> Subject:
    """Export, then make graphs and plans; what cannot be made is noted, and the rest goes on.

    Args:
        request: of an artifact in fp32.
        frames_of: frames for int8's ranges and for parity.
        folder: is filled; what a run of the same made there is taken as it is.
        runners: whose plans are built.
        target: compute capability of the GPU; None without one.
        thresholds: that tell which form of a half graph is taken.

    Raises:
        MoaseEdgeError: the artifact itself cannot be made, or the frames cannot be read.
    """
    done = folder / "made.json"
    if done.is_file():
        artifact = load_artifact(folder / "artifact")
        reference, _ = _reference(artifact, request.seed, frames_of)
        return Subject(artifact, request.checkpoint, reference, read_json(done), folder)
    shutil.rmtree(folder, ignore_errors=True)
    logger.info("exporting %s", request.backbone)
    artifact = export_artifact(request, folder / "artifact")
    reference, frames = _reference(artifact, request.seed, frames_of)
    made: Made = {}
    artifact = _extended(artifact, folder / "graphs", reference, frames, runners, target, thresholds, made)
    write_json(done, made)
    return Subject(artifact, request.checkpoint, reference, made, folder)


def _reference(artifact: Artifact, seed: int, frames_of: Callable[[Artifact], Frames]) -> tuple[Reference, Frames]:
    frames = frames_of(artifact)
    with closing(OnnxRuntimeEngine(artifact.path(ONNX_FILE))) as engine:
        return Reference(engine, moved(sidecar_of(artifact), seed), frames.shown), frames


def _extended(
    artifact: Artifact,
    graphs: Path,
    reference: Reference,
    frames: Frames,
    runners: Sequence[Runner],
    target: str | None,
    thresholds: Mapping[GraphPrecision, ParityThresholds],
    made: Made,
) -> Artifact:
    """The artifact with a graph in every precision, made in a folder of their own, and plans of all."""
    graphs.mkdir()
    shutil.copy2(artifact.path(ONNX_FILE), graphs / ONNX_FILE)
    entries = list(artifact.manifest.engines)
    for precision in PRECISIONS[1:]:
        logger.info("making the graph in %s", precision)
        held_to = thresholds[precision]
        candidate = _candidate(cast(LowerPrecision, precision), graphs, reference, frames, target, held_to, made)
        if candidate is not None:
            changed = {"file": candidate.file, "precision": precision, "parity": candidate.parity}
            entries.append(entries[0].model_copy(update=changed))
    extended = _with_engines(artifact, entries, graphs, runners, made)
    shutil.rmtree(graphs)
    return extended


def _candidate(
    precision: LowerPrecision,
    folder: Path,
    reference: Reference,
    frames: Frames,
    target: str | None,
    thresholds: ParityThresholds,
    made: Made,
) -> Candidate | None:
    """The graph in a precision; one that fails parity is kept and measured, and the record says so."""
    try:
        wanted_precisions(precision, calibrated=True, targets=[target] if target else [])
        if precision == "int8":
            candidate = int8_candidate(
                folder / ONNX_FILE,
                folder,
                reference,
                thresholds,
                chosen=frames.calibration,
                settings=QuantiseSettings(),
                hold_out=SearchSettings().hold_out,
            )
        else:
            candidate = half_candidate(precision, folder / ONNX_FILE, folder, reference, thresholds)
    except Exception as exc:  # whatever it is, the other precisions go on
        made[precision] = {"absent": reason_of(exc, folder)}
        (folder / graph_file(precision)).unlink(missing_ok=True)
        return None
    made[precision] = {**candidate.form, "graph_failures": candidate.comparison.failures}
    return candidate


def _with_engines(
    artifact: Artifact, entries: list[EngineEntry], graphs: Path, runners: Sequence[Runner], made: Made
) -> Artifact:
    """The artifact with all graphs, and the plans that can be built of them."""

    def change(building: Path) -> dict[str, Any]:
        for path in graphs.iterdir():
            shutil.copy2(path, building / path.name)
        plans = [
            plan
            for runner in runners
            if runner not in GRAPH_RUNNERS
            for build in _builds(cast(EngineRuntime, runner), made)
            for entry in entries
            for plan in _plan(building, entry, build, made)
        ]
        return {"engines": (*entries, *plans)}

    return replace_artifact(artifact, change)


def _builds(runner: EngineRuntime, made: Made) -> tuple[PlanBuild, ...]:
    """What a flavour of TensorRT builds for the GPU at hand; nothing where it cannot."""
    try:
        return plan_builds(PlanRequest(engine=cast(PlanEngine, runner)))
    except Exception as exc:  # whatever it is, the other flavours go on
        made[runner] = {"absent": reason_of(exc, Path())}
        return ()


def _plan(building: Path, graph: EngineEntry, build: PlanBuild, made: Made) -> tuple[EngineEntry, ...]:
    name = f"{build.flavour.name} {graph.precision}"
    try:
        plans = build_plans(building, [graph], [build], PlanSettings(), announce=logger.info)
    except Exception as exc:  # whatever it is, the other plans go on
        made[name] = {"absent": reason_of(exc, building)}
        return ()
    made[name] = {"file": plans[0].file}
    return plans


def reason_of(exc: Exception, folder: Path) -> str:
    """Why something is not there, in a line: our own words, or the type and first line of what others raise.

    Args:
        folder: whose path is left out, so that records do not show where they were made.
    """
    lines = str(exc).replace(f"{folder}/", "").strip().splitlines() or [""]
    if isinstance(exc, MoaseEdgeError):
        return " ".join(line.strip() for line in lines)
    return f"{type(exc).__name__}: {lines[0]}".rstrip(": ")
