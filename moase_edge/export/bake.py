"""Fold what was learned into one plain ONNX file: images in, logits out, as `run --adapt hold` answers."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from moase_edge.adapt.adaptation import Adaptation
from moase_edge.adapt.build import build_adaptation
from moase_edge.adapt.sidecar import Sidecar, Taps, load_sidecar
from moase_edge.adapt.state import LearnedState
from moase_edge.adapt.tracker import FixedCorrection
from moase_edge.artifact.manifest import Precision
from moase_edge.artifact.source_statistics import load_source_statistics
from moase_edge.artifact.specs import TOKEN_MEANS, SidecarSpec, TensorSpec
from moase_edge.artifact.store import Artifact
from moase_edge.config.adapt import AdaptSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import ConfigError, ExportError, GateError
from moase_edge.export.corrected import CorrectedAnswer, CorrectedByFeatures, Recognise
from moase_edge.export.graft import Graft
from moase_edge.export.onnx import export_onnx
from moase_edge.report.files import write_bytes_atomic

TOLERANCE = 1e-4
IMAGES = 8
_GRAPH = "graph.onnx"


@dataclass(frozen=True, slots=True)
class BakeReport:
    """What was baked.

    Attributes:
        domains: that the graph recognises, besides the source.
        steered: of these.
        deviation: from the held answer, largest difference of logits over the largest logit of the worst
            image, and the same of what is done about each domain.
        images: that it was compared on.
    """

    domains: int
    steered: int
    deviation: float
    images: int


def bake(
    artifact: Artifact,
    settings: AdaptSettings,
    state: LearnedState,
    out: Path,
    *,
    precision: Precision = "fp32",
) -> BakeReport:
    """Write one ONNX file that answers as `run --adapt hold` does from this state.

    The domain of each frame is recognised inside the graph, and corrected for there, steering included.

    Args:
        artifact: that the state was learned with.
        settings: that it was learned with.
        precision: of the engine that it was learned on.

    Raises:
        ConfigError: in this state the frozen model answers; or it was learned at another precision than fp32.
        ExportError: the graph cannot be made.
        GateError: it does not answer as it should; nothing is written.
        StorageError: `out` cannot be written.
    """
    _refuse_other_than_fp32(precision)
    adaptation = held_adaptation(artifact, settings, state)
    fixed = None if adaptation.tracker is None else adaptation.tracker.fixed()
    backbone = artifact.path(_fp32_graph(artifact))
    recognise = None
    if fixed is not None and fixed.block is not None:
        recognise = _exported(Recognise(fixed), adaptation.sidecar.spec, ("key",), ("offset", "shift"))
    model = _joined(backbone, adaptation.sidecar, fixed, recognise)
    _describe(model, artifact)
    data = model.SerializeToString()
    off_domains = 0.0 if fixed is None or recognise is None else _domain_deviation(recognise, fixed)
    deviation = float(np.max([_deviation(artifact, backbone, data, adaptation), off_domains]))
    _refuse_off(deviation)
    write_bytes_atomic(out, data)
    shifted = 0 if fixed is None else int(fixed.shifts.any(axis=1).sum())
    return BakeReport(0 if fixed is None else len(fixed.centres) - 1, shifted, deviation, IMAGES)


def _refuse_other_than_fp32(precision: Precision) -> None:
    if precision != "fp32":
        raise ConfigError(
            f"this state was learned on an engine of {precision}, whose features are others than those of the "
            "fp32 graph that is baked. Learn on an engine of fp32 to bake, or run the state as it is."
        )


def _refuse_off(deviation: float) -> None:
    """Hold a baked graph to the held answer; one that is not finite is off too."""
    if not deviation <= TOLERANCE:
        raise GateError(
            f"the baked graph is off the held answer by {deviation:.1e} (relative, the worst of {IMAGES} images "
            f"and of all domains); the tolerance is {TOLERANCE:.0e}. Nothing was written. Try another version of "
            "torch or onnxruntime."
        )


def held_adaptation(artifact: Artifact, settings: AdaptSettings, state: LearnedState) -> Adaptation:
    """What `run --adapt hold` answers with.

    Raises:
        ConfigError: in this state the frozen model answers.
    """
    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    adaptation = build_adaptation(sidecar, settings, load_source_statistics(artifact))
    adaptation.load(state)
    if not adaptation.trusted:
        raise ConfigError(
            "in this state the guard has the frozen model answer: there is nothing to bake. "
            "Take an earlier snapshot, by its name."
        )
    adaptation.start_run()
    adaptation.hold(True)
    return adaptation


def _fp32_graph(artifact: Artifact) -> str:
    graphs = [entry.file for entry in artifact.manifest.engines if entry.opset and entry.precision == "fp32"]
    if not graphs:
        raise ExportError(f"{artifact.folder} holds no fp32 ONNX graph to bake into. Export it again.")
    return graphs[0]


def _joined(backbone: Path, sidecar: Sidecar, fixed: FixedCorrection | None, recognise: Any) -> Any:
    import onnx

    spec, graft = sidecar.spec, Graft(onnx.load(backbone))
    taps = {"mid": "backbone/mid", "out": "backbone/out"}
    if fixed is None or fixed.block is None:
        if graft.takes_shift:
            graft.feed_shift()
        graft.join(_exported(CorrectedByFeatures(sidecar, fixed), spec, (), ("logits",)), "answer", taps)
    else:
        graft.join(recognise, "recognise", {"key": graft.key_of(fixed.block)})
        graft.feed_shift(fixed.block, "recognise/shift")
        answer = _exported(CorrectedAnswer(sidecar), spec, ("offset",), ("logits",))
        graft.join(answer, "answer", {**taps, "offset": "recognise/offset"})
    model = graft.finished("answer/logits", ("batch", spec.classes or spec.channels))
    onnx.checker.check_model(model)
    return model


def _exported(module: nn.Module, spec: SidecarSpec, vectors: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
    """A module as an ONNX model: it takes the taps, where it answers, and vectors (B, C)."""
    import onnx

    taps = ("mid", "out") if outputs == ("logits",) else ()
    entries = [TensorSpec(name=name, shape=(None, spec.tap_tokens, spec.channels), meaning="") for name in taps]
    entries += [TensorSpec(name=name, shape=(None, spec.channels), meaning="") for name in vectors]
    made = tuple(TensorSpec(name=name, shape=(None, None), meaning="") for name in outputs)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        export_onnx(module.eval(), tuple(entries), made, Path(folder) / _GRAPH)
        return onnx.load(Path(folder) / _GRAPH)


def _describe(model: Any, artifact: Artifact) -> None:
    """Note in the file what a user of it has to know: preprocessing, labels, where it comes from."""
    manifest = artifact.manifest
    notes = {
        "preprocess": manifest.preprocess.model_dump_json(),
        "labels": json.dumps(manifest.labels),
        "identity": manifest.identity,
    }
    for key, value in notes.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def _deviation(artifact: Artifact, backbone: Path, data: bytes, adaptation: Adaptation) -> float:
    size = (artifact.manifest.preprocess.height, artifact.manifest.preprocess.width)
    images = np.random.default_rng(0).standard_normal((IMAGES, 3, *size), dtype=np.float32)
    engine, baked = OnnxRuntimeEngine(backbone), OnnxRuntimeEngine(data)
    deviations = [0.0]
    for image in images[:, None]:
        expected, found = held_answer(engine, adaptation, image), baked.run(image)["logits"]
        deviations.append(float(np.abs(found - expected).max() / np.abs(expected).max()))
    return float(np.max(deviations))


def _domain_deviation(recognise: Any, fixed: FixedCorrection) -> float:
    """Of offset and shift of a frame in the middle of each domain, which the images above may not show."""
    import onnxruntime

    raw = (fixed.centres / fixed.key_scale + fixed.key_mean).astype(np.float32)
    session = onnxruntime.InferenceSession(recognise.SerializeToString(), providers=["CPUExecutionProvider"])
    offsets, shifts = session.run(["offset", "shift"], {"key": raw})
    moved = fixed.centres.any(axis=1, keepdims=True)  # the source itself is not moved
    return float(np.max([_off(offsets, fixed.offsets * moved), _off(shifts, fixed.shifts)]))


def _off(found: NDArray[Any], expected: NDArray[Any]) -> float:
    largest = float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / (largest or 1.0)


def held_answer(engine: Engine, adaptation: Adaptation, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (1, K) of one frame (1, 3, H, W) that comes after others of its domain."""
    adaptation.start_run()
    tracker, plain = adaptation.tracker, np.zeros(1, dtype=bool)
    outputs = engine.run(image)
    if tracker is None or tracker.block is None:
        return adaptation.answer(_taps(outputs), plain).logits
    keys, found = tracker.recognise(outputs[TOKEN_MEANS][:, tracker.block])
    shift = tracker.shift(found.slot, tracker.steers(found.slot))
    if shift is None:
        return adaptation.answer(_taps(outputs), plain, keys, found).logits
    return adaptation.answer(_taps(engine.run(image, shift)), ~plain, keys, found).logits


def _taps(outputs: Any) -> Taps:
    return Taps(*(torch.from_numpy(outputs[name]) for name in ("mid", "out")))
