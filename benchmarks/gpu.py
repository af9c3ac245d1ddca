"""Every engine that can be had on this machine's GPU, side by side, with what adapting adds to each.

    python -m benchmarks.gpu --out benchmarks/results/gpu.json

For a ViT-B/16 at batch 1 it times, for PyTorch eager and compiled, ONNX Runtime with CUDA and with TensorRT,
TensorRT and TensorRT-RTX, as far as they are installed, with and without CUDA graphs,
    engine      the frozen backbone, taps left on the device
    prediction  the same + the sidecar's answer
    update      the same + a step of the weights, which runs beside the next answers
and the engine's own latency inside `prediction` and inside `update`: its p99 may grow by a factor of 1.2 at most.
Plans are built first. With a checkpoint, or MOASE_EDGE_DATA, each engine is compared with the fp32 graph in ONNX
Runtime on the CPU, on real weights; the ViT-B/16 itself has random ones unless `--checkpoint` names some, and the
record says so.

    python -m benchmarks.gpu --device cpu --backbone digits_vit --rounds 2 --frames 3

runs the same code with the engines that a CPU has; its figures say nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu_engines import Contender, contenders
from benchmarks.overhead import SOURCE_IMAGES, interleave, named, noise
from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.artifact.store import Artifact
from moase_edge.calib.source_statistics import source_statistics_of
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.engines.base import DeviceEngine, Engine
from moase_edge.engines.deviation import agreement_of, deviation_of, median_error
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.tensorrt.device import find_device
from moase_edge.engines.tensorrt.flavour import available_flavours, find_flavour
from moase_edge.errors import EngineError, MoaseEdgeError
from moase_edge.export.bundle import ONNX_FILE, ExportRequest, export_artifact
from moase_edge.export.plan_targets import PlanRequest
from moase_edge.export.rebuild import rebuild_artifact
from moase_edge.export.write import SIDECAR_FILE
from moase_edge.models.build import build_backbone
from moase_edge.models.steer import cut
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.split_method import build_split_method
from moase_edge.runtime.stages import Stages

P99_TARGET = 1.2
PARITY_FRAMES, WARM_UP = 8, 8
REAL = ("deit_tiny", Path("weights") / "deit_tiny_patch16_224.safetensors")

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write; ends the process with the exit code of what went wrong."""
    args = _parsed(arguments)
    try:
        record = measure(args)
    except MoaseEdgeError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    print(json.dumps(record["engines"], indent=1))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--checkpoint", type=Path, help="weights of the backbone; random ones without it")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=20, help="rounds; each times every variant, in random order")
    parser.add_argument("--frames", type=int, default=50, help="timed frames of each variant in a round")
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="leave torch.compile out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The whole record.

    Raises:
        EngineError: a GPU is asked for and there is none, or no engine of it opens.
    """
    device = the_device(args.device)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        parity = real_parity(args, device, Path(folder) / "real")
        artifact = export_all(args, args.backbone, args.checkpoint, Path(folder) / "timed")
        engines = measure_engines(args, artifact, device)
    return {
        "benchmark": "gpu",
        "backbone": args.backbone,
        "weights": artifact.manifest.provenance.weights,
        "batch": 1,
        "device": str(device),
        "rounds": args.rounds,
        "frames": args.frames,
        "seed": args.seed,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {**describe_machine(), **gpu_facts()},
        "p99_target": P99_TARGET,
        "parity": parity,
        "engines": engines,
    }


def the_device(name: str) -> torch.device:
    """The device that was asked for.

    Raises:
        EngineError: it is a GPU and there is none.
    """
    if name == "cpu":
        return torch.device("cpu")
    if find_device() is None or not torch.cuda.is_available():
        raise EngineError(
            "this benchmark measures engines on an NVIDIA GPU, and this machine has none that PyTorch sees. Run "
            "it on one that has; --device cpu runs the same code on a CPU, and measures nothing of a GPU."
        )
    return torch.device("cuda", torch.cuda.current_device())


def gpu_facts() -> dict[str, Any]:
    """GPU, driver, CUDA and the flavours of TensorRT; empty of what is not there."""
    device = find_device()
    facts = {} if device is None else {"gpu": device.gpu, "target": device.target, **device.versions}
    return {**facts, **{name: find_flavour(name).version for name in available_flavours()}}


def export_all(args: argparse.Namespace, backbone: str, checkpoint: Path | None, folder: Path) -> Artifact:
    """An artifact with a plan for this GPU from every flavour that builds one."""
    request = ExportRequest(backbone, checkpoint=checkpoint, pretrained=False, seed=args.seed)
    artifact = export_artifact(request, folder)
    for flavour in available_flavours() if args.device == "cuda" else ():
        try:
            artifact = rebuild_artifact(folder, PlanRequest(engine=flavour))  # type: ignore[arg-type]
        except MoaseEdgeError as exc:
            logger.warning("no plan of %s: %s", flavour, exc)
    return artifact


def all_contenders(
    args: argparse.Namespace, artifact: Artifact, checkpoint: Path | None, device: torch.device
) -> Iterator[Contender]:
    """Every engine of an artifact, and PyTorch with the same weights."""
    manifest = artifact.manifest

    def module() -> torch.nn.Module:
        name, seed = manifest.provenance.backbone, manifest.provenance.seed
        backbone = build_backbone(name, checkpoint=checkpoint, pretrained=False, seed=seed)
        return cut(backbone.model, manifest.sidecar, steer=manifest.steerable)

    return contenders(artifact, module, device, compiled=args.compiled)


def real_weights() -> Path | None:
    """Published weights in the folder that MOASE_EDGE_DATA names; None where there are none."""
    folder = os.environ.get("MOASE_EDGE_DATA")
    found = Path(folder) / REAL[1] if folder else None
    return found if found is not None and found.is_file() else None


def real_parity(args: argparse.Namespace, device: torch.device, folder: Path) -> dict[str, Any]:
    """Of each engine with the fp32 graph on ONNX Runtime's CPU provider, on real weights."""
    weights = real_weights()
    if args.checkpoint is None and weights is None:
        return {"weights": None, "why": "neither --checkpoint nor MOASE_EDGE_DATA names real weights"}
    backbone, checkpoint = (args.backbone, args.checkpoint) if args.checkpoint else (REAL[0], weights)
    artifact = export_all(args, backbone, checkpoint, folder)
    frames = list(islice(noise(_size(artifact), args.seed), PARITY_FRAMES))
    with closing(OnnxRuntimeEngine(artifact.path(ONNX_FILE))) as reference:
        expected = [reference.run(frame) for frame in frames]
    engines: dict[str, Any] = {}
    for contender in all_contenders(args, artifact, checkpoint, device):
        engines[contender.name] = _or_why(contender, lambda engine: compare(engine, frames, expected))
    return {"weights": checkpoint.name if checkpoint else None, "backbone": backbone, "engines": engines}


def compare(engine: Engine, frames: list[NDArray[np.float32]], expected: list[Any]) -> dict[str, Any]:
    """Cosine, relative error and agreement of one engine's outputs with the expected ones."""
    found = [
        deviation_of(engine.run(frame), right, head=True) for frame, right in zip(frames, expected, strict=True)
    ]
    return {
        "cosine": min(each.cosine for each in found),
        "relative_error": median_error(found),
        "top1_agreement": agreement_of(found),
    }


def _or_why(contender: Contender, of: Callable[[Engine], Any]) -> Any:
    """What is measured of a contender, or why it is absent."""
    logger.info("%s", contender.name)
    try:
        engine = contender.open()
    except MoaseEdgeError as exc:
        return {"absent": str(exc)}
    with closing(engine):
        try:
            return of(engine)
        except MoaseEdgeError as exc:
            return {"absent": str(exc)}


def measure_engines(args: argparse.Namespace, artifact: Artifact, device: torch.device) -> dict[str, Any]:
    """Latencies of every engine, one after the other; the variants of one are interleaved.

    Raises:
        EngineError: no engine could be measured.
    """
    with closing(OnnxRuntimeEngine(artifact.path(ONNX_FILE))) as reference:
        images = islice(named(noise(_size(artifact), args.seed + 1)), SOURCE_IMAGES)
        statistics = source_statistics_of(reference, _sidecar(artifact), images)
    measured = {
        contender.name: _or_why(contender, lambda engine: measure_engine(args, artifact, engine, statistics))
        for contender in all_contenders(args, artifact, args.checkpoint, device)
    }
    if all("absent" in of for of in measured.values()):
        raise EngineError(f"no engine could be measured: {'; '.join(of['absent'] for of in measured.values())}")
    return measured


def measure_engine(
    args: argparse.Namespace, artifact: Artifact, engine: Engine, statistics: SourceStatistics
) -> dict[str, Any]:
    """Engine alone, prediction, and prediction with updates, in turn; and the engine's share of the last two."""
    stream = noise(_size(artifact), args.seed)
    image = next(stream)
    inside: dict[str, list[float]] = {"prediction": [], "update": []}
    answering, learning = (build_split_method(engine, _sidecar(artifact), learns(), statistics) for _ in range(2))
    variants: dict[str, Callable[[], None]] = {
        "engine": lambda: _alone(engine, image),
        "prediction": lambda: _predict(answering, image, inside["prediction"], learn=False),
        "update": lambda: _predict(learning, next(stream), inside["update"], learn=True),
    }
    for run in list(variants.values()) * WARM_UP:  # captures graphs, compiles, finds the domains
        run()
    for durations in inside.values():
        durations.clear()
    times = interleave(variants, rounds=args.rounds, frames=args.frames, seed=args.seed)
    for method in (answering, learning):
        method.close()
        if method.failures:
            raise EngineError(f"{engine.name} answered and then failed: {dict(method.failures)}")
    return {"name": engine.name, **summarise(times, inside), "counts": learning.counts()}


def learns() -> AdaptSettings:
    """What ships, and a step of the weights on every frame."""
    return ADAPT_PRESETS["edge"].model_copy(update={"objectives": {"consistency": 1.0}})


def _alone(engine: Engine, image: NDArray[np.float32]) -> None:
    if not isinstance(engine, DeviceEngine):
        engine.run(image)
        return
    engine.run_on_device(image)
    if engine.device != "cpu":
        torch.cuda.synchronize()


def _predict(method: SplitMethod, image: NDArray[np.float32], inside: list[float], *, learn: bool) -> None:
    stages = Stages()
    prediction = method.predict(image, stages)
    inside.append(stages.durations_ms["engine"])
    if learn:
        method.learn(prediction)


def summarise(times: dict[str, list[float]], inside: dict[str, list[float]]) -> dict[str, Any]:
    """Percentiles of every variant, and whether updates hold the engine up."""
    p99 = {name: float(np.percentile(values, 99)) for name, values in inside.items()}
    ratio = p99["update"] / p99["prediction"]
    return {
        "latency_ms": {name: _percentiles(values) for name, values in times.items()},
        "engine_inside_ms": {name: _percentiles(values) for name, values in inside.items()},
        "p99_ratio": ratio,
        "met": ratio <= P99_TARGET,
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    points = np.percentile(values, [50, 95, 99])
    return {"count": len(values), **dict(zip(("p50", "p95", "p99"), map(float, points), strict=True))}


def _size(artifact: Artifact) -> tuple[int, int]:
    return artifact.manifest.preprocess.height, artifact.manifest.preprocess.width


def _sidecar(artifact: Artifact) -> Any:
    manifest = artifact.manifest
    return load_sidecar(artifact.path(SIDECAR_FILE), manifest.sidecar, manifest.moase)


if __name__ == "__main__":
    main()
