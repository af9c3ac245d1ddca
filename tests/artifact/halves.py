"""An artifact with halves beside its fp32 graph, without the cost of another export."""

from __future__ import annotations

from pathlib import Path

import onnx

from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, write_manifest
from moase_edge.export.half import half_graph


def add_halves(folder: Path, **fields: object) -> Artifact:
    """Put graphs in fp16 and bf16 behind the fp32 one, without parity; `fields` of the manifest besides."""
    manifest = load_artifact(folder).manifest
    model, exact = onnx.load(str(folder / "backbone.onnx")), manifest.engines[0]
    entries = [exact]
    for precision in ("fp16", "bf16"):
        onnx.save(half_graph(model, precision, "plain"), str(folder / f"backbone.{precision}.onnx"))
        entries.append(exact.model_copy(update={"precision": precision, "file": f"backbone.{precision}.onnx"}))
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**manifest.model_dump(), "engines": tuple(entries), **fields})
    return load_artifact(folder)
