"""The manifest: what an artifact holds, what it was made from, and what it needs."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, field_validator, model_validator

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.specs import SHIFT, TOKEN_MEANS, SidecarSpec, TensorSpec
from moase_edge.config.base import Settings
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.precision import THRESHOLDS, GraphPrecision, ParityThresholds

SCHEMA_VERSION = 2


def _inside_the_folder(path: str) -> str:
    """Refuse any file name that could point outside the artifact's own folder."""
    parts = PurePosixPath(path).parts
    if not parts or path != str(PurePosixPath(path)) or not path.isprintable() or set(path) & set("\\:"):
        raise ValueError("not a plain relative path")
    if PurePosixPath(path).is_absolute() or ".." in parts:
        raise ValueError("leaves the artifact's folder")
    return path


def _sha256(digest: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("not a sha256 in lower-case hexadecimal")
    return digest


FileName = Annotated[str, AfterValidator(_inside_the_folder)]
Digest = Annotated[str, AfterValidator(_sha256)]


def _plain_name(name: str) -> str:
    if not name or not name.isprintable() or "/" in name:
        raise ValueError("not a plain name without a path")
    return name


PlainName = Annotated[str, AfterValidator(_plain_name)]
Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8"]
Target = Annotated[str, Field(pattern=r"^sm\d{2,3}$")]
EngineRuntime = Literal["onnx", "tensorrt", "tensorrt-rtx"]


class BuiltFor(Settings):
    """What a plan was built with, and the device that it fits.

    Attributes:
        target: compute capability as `sm86`; a plan fits no other unless it is hardware compatible.
        gpu: name of the GPU it was built on; None where it was built without one.
        versions: of TensorRT (the flavour's own), and where they are known CUDA, driver and L4T.
        hardware_compatible: later compute capabilities can run it too.
        version_compatible: later versions of the same flavour can run it too.
        tf32: products of float32 are in TF32.
        workspace_mib: memory that one layer may take; None for all that the device has.
        usual_batch: that its kernels were chosen for; None for the smallest.
    """

    target: Target
    gpu: str | None = None
    versions: dict[str, str]
    hardware_compatible: bool = False
    version_compatible: bool = False
    tf32: bool = False
    workspace_mib: Annotated[int, Field(ge=1)] | None = None
    usual_batch: Annotated[int, Field(ge=1)] | None = None


class EngineParity(Settings):
    """An engine's deviation from the fp32 graph on the same images; parity.json has it one by one.

    Attributes:
        passed: every figure holds its threshold.
        measured_on: what ran the engine, or the graph that a plan which cannot run here was built from.
        cosine: of any output, the smallest over images.
        relative_error: of the taps, norm of the difference over that of the reference, median over images.
        logits: of the frozen answer, likewise; None where it was not compared.
        token_means: of those of the worst block, likewise; None of an engine that cannot be steered.
        steered: of the taps under a seeded shift, likewise; None of an engine that cannot be steered.
        gradients: of the adapters' weights, likewise.
        top1_agreement: share of images with the same frozen answer; None without a head.
    """

    passed: bool
    measured_on: str
    cosine: float
    relative_error: float
    logits: float | None = None
    token_means: float | None = None
    steered: float | None = None
    gradients: float
    top1_agreement: float | None


class EngineEntry(Settings):
    """One engine of the artifact and what it needs of a device.

    Attributes:
        file: an ONNX graph or a pure plan.
        precision: of its arithmetic; taps are handed over in the dtype that `outputs` states.
        opset: of a graph; None for a plan.
        source: the ONNX graph that a plan was built from; None for a graph.
        batch: smallest and largest batch it takes; None for any.
        built_for: of a plan.
        parity: with the fp32 graph; None for that graph itself, and where nothing was compared.
        latency_ms: median of one frame, where it was measured on the device that `measured_on` names.
        measured_on: engine and device of `latency_ms`; None for unmeasured.
    """

    file: FileName
    runtime: EngineRuntime = "onnx"
    precision: Precision = "fp32"
    opset: Annotated[int, Field(ge=18)] | None = None
    source: FileName | None = None
    batch: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    built_for: BuiltFor | None = None
    parity: EngineParity | None = None
    latency_ms: float | None = None
    measured_on: str | None = None

    @model_validator(mode="after")
    def _graph_or_plan(self) -> EngineEntry:
        graph = self.runtime == "onnx"
        if graph != (self.opset is not None) or graph == (self.built_for is not None and self.source is not None):
            raise ValueError(f"{self.file}: an ONNX graph has an opset, a plan what it was built for and from")
        return self


class Provenance(Settings):
    """Where the weights came from.

    Attributes:
        backbone: the name that was asked for.
        architecture: timm's name of it.
        weights: "pretrained", "checkpoint" or "random".
        checkpoint: file name and sha256 of the checkpoint.
        seed: of random weights and of the adapter's start.
        versions: of the packages that took part.
    """

    backbone: str
    architecture: str
    weights: Literal["pretrained", "checkpoint", "random"]
    checkpoint: str | None = None
    checkpoint_sha256: Digest | None = None
    seed: int
    versions: dict[str, str]


class SourceStatisticsEntry(Settings):
    """Where the source statistics lie and what they were taken from.

    Attributes:
        data: name of the folder or file with the images, without the path to it.
        count: images that took part.
        precision: of the engine that they were taken on; another one's error would look like a shift.
        engine: what ran it.
        command: what recorded them: `export`, also with `--rebuild`, or `calibrate`.
    """

    file: FileName
    data: PlainName
    count: int = Field(ge=2)
    precision: Precision
    engine: str
    command: Literal["export", "calibrate"]


class ParityFigures(Settings):
    """Worst deviations from in-block MoASE in PyTorch; parity.json has them one by one."""

    passed: bool
    taps: float
    logits: float
    gradients: float
    tolerance: float


class Manifest(Settings):
    """The content of manifest.json.

    Attributes:
        steerable: whether the engines take `shift` and return `token_means`.
        undecided: which engine is the fastest is measured at the first run on a device.
        targets: compute capabilities of the devices that it is meant for, whose plans are built there.
        thresholds: of parity with fp32, by precision: what engines were judged by, and a device judges plans by.
        source_statistics: one for each precision they were taken at; empty where there were no source images.
        identity: sha256 over weights, split, MoASE settings and preprocessing; adapted state is bound to it.
        files: sha256 of every other file in the folder.
        manifest_sha256: of this manifest without this field, as canonical JSON.
    """

    schema_version: int
    created_at: AwareDatetime
    moase_edge_version: str
    name: str
    task: Literal["classify"] = "classify"
    labels: tuple[str, ...] | None
    identity: Digest
    provenance: Provenance
    preprocess: PreprocessSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    steerable: bool = False
    sidecar: SidecarSpec
    moase: MoaseSettings
    engines: tuple[EngineEntry, ...] = Field(min_length=1)
    undecided: bool = False
    targets: tuple[Target, ...] = ()
    parity: ParityFigures
    thresholds: dict[GraphPrecision, ParityThresholds] = THRESHOLDS
    source_statistics: tuple[SourceStatisticsEntry, ...] = ()
    files: dict[FileName, Digest]
    manifest_sha256: Digest

    @field_validator("source_statistics", mode="before")
    @classmethod
    def _schema_1_had_one_or_none(cls, value: object) -> object:
        return () if value is None else (value,) if isinstance(value, dict) else value

    def statistics_at(self, precision: Precision) -> SourceStatisticsEntry | None:
        """The source statistics that were taken at a precision; None where there are none."""
        return next((entry for entry in self.source_statistics if entry.precision == precision), None)

    def plan_graphs(self) -> tuple[EngineEntry, ...]:
        """The graphs that plans are built from: the first, which is to run, or all while that is undecided."""
        graphs = tuple(entry for entry in self.engines if entry.runtime == "onnx")
        return graphs if self.undecided else graphs[:1]

    @model_validator(mode="after")
    def _parts_fit_each_other(self) -> Manifest:
        named = [name for engine in self.engines for name in (engine.file, engine.source) if name is not None]
        unhashed = [name for name in named if name not in self.files]
        if unhashed:
            raise ValueError(f"no hash is given of {', '.join(unhashed)}, which an engine runs")
        for entry in self.source_statistics:
            if entry.file not in self.files:
                raise ValueError(f"no hash is given of {entry.file}, the source statistics")
        precisions = [entry.precision for entry in self.source_statistics]
        if len(set(precisions)) < len(precisions):
            raise ValueError("source statistics of one precision are given twice")
        blocks = (None, self.sidecar.depth, self.sidecar.channels) if self.steerable else None
        for name, tensors in ((SHIFT, self.inputs), (TOKEN_MEANS, self.outputs)):
            shape = next((tensor.shape for tensor in tensors if tensor.name == name), None)
            if shape != blocks:
                raise ValueError(f"{name} has shape {shape}; expected {blocks}, as steerable is {self.steerable}")
        if self.labels is not None and len(self.labels) != self.sidecar.classes:
            raise ValueError(f"{len(self.labels)} labels for {self.sidecar.classes} classes")
        return self


def seal(fields: dict[str, Any]) -> str:
    """sha256 of a manifest's JSON fields, the field `manifest_sha256` left out."""
    content = {key: value for key, value in fields.items() if key != "manifest_sha256"}
    return hashlib.sha256(canonical_json(content)).hexdigest()


def canonical_json(value: object) -> bytes:
    """One byte sequence for one value: sorted keys, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
