"""How far each precision is from fp32 on photographs, and what it costs in ONNX Runtime on this machine.

    python -m benchmarks.precision --data FOLDER --checkpoint FILE --out benchmarks/results/precision.json

FOLDER holds pictures. Every picture goes through the fp32 engine and through each candidate, whose half values are
rounded after every node (see `moase_edge.calib.rounded`). Latencies are medians of one interleaved run; quote
their ratios.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.store import Artifact
from moase_edge.calib.adapter_gradients import perturb
from moase_edge.calib.engine_parity import EngineComparison, Reference
from moase_edge.calib.pictures import pictures_at
from moase_edge.calib.quantise import quantise
from moase_edge.calib.twin import GRAPH_FILE, HALVES, graph_file, open_twin
from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.precision import HalfPrecision, HalfStrategy, PrecisionSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.timing import measure
from moase_edge.export.bundle import ONNX_FILE, export_artifact
from moase_edge.export.half import WIDE_NODES, half_graph
from moase_edge.export.request import ExportRequest
from moase_edge.export.write import SIDECAR_FILE
from moase_edge.runtime.machine import describe_machine


def main() -> None:
    """Measure and write one JSON file."""
    args = parse()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        request = ExportRequest(args.backbone, checkpoint=args.checkpoint, seed=args.seed)
        artifact = export_artifact(request, Path(folder) / "artifact")
        record = {
            "benchmark": "precision",
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "backbone": args.backbone,
            "seed": args.seed,
            **compare(artifact, args),
        }
    print(json.dumps(record, indent=1))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of pictures")
    parser.add_argument("--backbone", default="deit_tiny")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def compare(artifact: Artifact, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of every half graph and of int8, and latencies of what the CPU provider runs."""
    manifest, folder = artifact.manifest, artifact.folder
    sidecar = load_sidecar(artifact.path(SIDECAR_FILE), manifest.sidecar, manifest.moase)
    perturb(sidecar, torch.Generator().manual_seed(args.seed))
    pictures = pictures_at(args.data, manifest.preprocess, args.pictures)
    with closing(OnnxRuntimeEngine(folder / ONNX_FILE)) as engine:
        reference = Reference(engine, sidecar, pictures)
    thresholds, found = PrecisionSettings().thresholds, dict[str, Any]()
    model = onnx.load(str(folder / GRAPH_FILE))
    for precision in HALVES:
        for strategy in cast("list[HalfStrategy]", list(WIDE_NODES)):
            content = half_graph(model, cast(HalfPrecision, precision), strategy).SerializeToString()
            (folder / graph_file(precision)).write_bytes(content)
            with closing(open_twin(folder / graph_file(precision), precision)) as engine:
                found[f"{precision} {strategy}"] = figures(reference.compare(engine, thresholds[precision]))
    # Every fourth picture gives the ranges and is compared on as well; docs/calibration.md keeps them apart.
    done = quantise(folder / GRAPH_FILE, folder / graph_file("int8"), pictures.frames[::4], QuantiseSettings())
    with closing(open_twin(folder / graph_file("int8"), "int8")) as engine:
        comparison = reference.compare(engine, thresholds["int8"])
    found["int8"] = {**figures(comparison), "share_of_multiply_adds": done.share}
    return {"pictures": len(pictures.frames), "parity": found, "latency_ms": latencies(folder, reference, args)}


def figures(comparison: EngineComparison) -> dict[str, Any]:
    """What a comparison comes to, with the spread that the gate does not look at."""
    errors = [each.relative_error for each in comparison.outputs]
    return {
        **comparison.figures("").model_dump(exclude={"measured_on"}),
        "relative_error_p99": float(np.quantile(errors, 0.99)),
        "gradients_p99": float(np.quantile(comparison.gradients, 0.99)),
    }


def latencies(folder: Path, reference: Reference, args: argparse.Namespace) -> dict[str, float]:
    """Of fp32, fp16 and int8 in one interleaved run on the CPU provider."""
    openers = {name: partial(OnnxRuntimeEngine, folder / graph_file(name)) for name in ("fp32", "fp16", "int8")}
    measured = measure(openers, reference.frames[0], rounds=args.rounds, warm_up=3, seconds=600)
    return {name: each.latency_ms for name, each in measured.items()}


if __name__ == "__main__":
    main()
