"""What adapting costs: a frozen model, the split model, and the published loop, interleaved in one run.

    python -m benchmarks.overhead --out benchmarks/results/overhead.json

For a ViT-B/16 at batch 1 and each rank R it times one frame of
    a  the unmodified model in ONNX Runtime
    b  engine + sidecar prediction, corrected for the domain at hand
    c  the same + update, the shipped defaults, on frames that all show new content
    d  the published loop in PyTorch: MoASE in all blocks, all weights trained, student and teacher
The engine of b and c can be steered, and the moments of source images are known. The frames are of another domain,
which was met before the clock starts: b and c are what a frame costs in a domain that is known. Some frames cost a
second engine run, which medians hide: the first of a domain, and then one of `try_every` with new content.
Preprocessing is the same for all and left out. Ratios of medians are what to quote; a machine's own speed is not.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from itertools import islice, repeat
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar, load_sidecar
from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.artifact.specs import TensorSpec
from moase_edge.artifact.store import Artifact
from moase_edge.bench.methods.full_network import FullNetworkMethod
from moase_edge.calib.source_statistics import source_statistics_of
from moase_edge.config.adapt import ADAPT_PRESETS
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.export.bundle import ONNX_FILE, export_artifact
from moase_edge.export.onnx import export_onnx
from moase_edge.export.request import ExportRequest
from moase_edge.export.write import SIDECAR_FILE
from moase_edge.models.build import build_backbone
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.method import Method
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.split_method import build_split_method
from moase_edge.runtime.stages import Stages

TARGETS = {"b/a": ("<=", 1.03), "c/a": ("<=", 1.10), "d/c": (">=", 7.0)}
# Noise of two domains that no running mean confuses.
SOURCE_IMAGES, KNOWN_AFTER = 16, 24


class _Unmodified(nn.Module):
    """The whole model, returning a tuple as the exporter's other users do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.model(images),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--ranks", type=int, nargs="+", default=[48, 192])
    parser.add_argument("--rounds", type=int, default=20, help="rounds; each times every variant, in random order")
    parser.add_argument("--frames", type=int, default=4, help="timed frames of a, b and c in a round; d has one")
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime, and of PyTorch in d")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results = {str(rank): measure_rank(args, rank) for rank in args.ranks}
    record = {
        "benchmark": "overhead",
        "backbone": args.backbone,
        "batch": 1,
        "adapt_blocks": 1,
        "rounds": args.rounds,
        "frames": args.frames,
        "threads": args.threads,
        "seed": args.seed,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "targets": TARGETS,
        "ranks": results,
    }
    print(json.dumps(results, indent=1))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure_rank(args: argparse.Namespace, rank: int) -> dict[str, Any]:
    """Build the four variants for one rank and time them."""
    with tempfile.TemporaryDirectory() as folder:
        variants = build_variants(args, rank, Path(folder))
    return summarise(interleave(variants, rounds=args.rounds, frames=args.frames, seed=args.seed))


def build_variants(args: argparse.Namespace, rank: int, folder: Path) -> dict[str, Callable[[], None]]:
    """One callable a variant; each answers (and learns from) one frame."""
    backbone = build_backbone(args.backbone, pretrained=False, seed=args.seed)
    size = (backbone.preprocess.height, backbone.preprocess.width)
    stream = (image + 1 for image in noise(size, args.seed))
    image = next(stream)
    inputs = TensorSpec(name="images", shape=(None, 3, *size), meaning="frames")
    logits = TensorSpec(name="logits", shape=(None, 1000), meaning="answer")
    export_onnx(_Unmodified(backbone.model), (inputs,), (logits,), folder / "whole.onnx")
    moase = MoaseSettings(rank=rank)
    request = ExportRequest(args.backbone, pretrained=False, seed=args.seed, moase=moase, steer=True)
    artifact = export_artifact(request, folder / "artifact")
    engine = OnnxRuntimeEngine(artifact.path(ONNX_FILE), threads=args.threads)
    whole = OnnxRuntimeEngine(folder / "whole.onnx", threads=args.threads)
    statistics = source_statistics_of(
        engine, _sidecar(artifact), islice(named(noise(size, args.seed + 1)), SOURCE_IMAGES)
    )
    answering, learning = (shipped(engine, _sidecar(artifact), statistics) for _ in range(2))
    for frame in islice(stream, KNOWN_AFTER):
        for method in (answering, learning):
            _update(method, frame)
    published = FullNetworkMethod(
        backbone.model, MoaseSettings(preset="official", rank=rank), ADAPT_PRESETS["official"], seed=args.seed
    )
    return {
        "a": lambda: _run_whole(whole, image),
        "b": _frame(answering, repeat(image), threads=1, learn=False),
        "c": _frame(learning, stream, threads=1, learn=True),
        "d": _frame(published, repeat(image), threads=args.threads, learn=True),
    }


def _run_whole(engine: OnnxRuntimeEngine, image: NDArray[np.float32]) -> None:
    engine.run(image)


def noise(size: tuple[int, int], seed: int) -> Iterator[NDArray[np.float32]]:
    """Frames (1, 3, H, W) without end, no two alike."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.standard_normal((1, 3, *size), dtype=np.float32)


def named(images: Iterable[NDArray[np.float32]]) -> Iterator[tuple[NDArray[np.float32], str]]:
    """Each image with a name for errors."""
    return ((image, f"source image {index}") for index, image in enumerate(images))


def shipped(engine: OnnxRuntimeEngine, sidecar: Sidecar, statistics: SourceStatistics) -> SplitMethod:
    """What ships, for which only a frame that is the same shows the same content."""
    defaults = ADAPT_PRESETS["edge"]
    track = defaults.track.model_copy(update={"same_content": 0.9999})
    return build_split_method(engine, sidecar, defaults.model_copy(update={"track": track}), statistics)


def _sidecar(artifact: Artifact) -> Sidecar:
    manifest = artifact.manifest
    return load_sidecar(artifact.path(SIDECAR_FILE), manifest.sidecar, manifest.moase)


def _frame(
    method: Method, images: Iterator[NDArray[np.float32]], *, threads: int, learn: bool
) -> Callable[[], None]:
    frames = iter(images)

    def run() -> None:
        torch.set_num_threads(threads)
        image = next(frames)
        if learn:
            _update(method, image)
        else:
            method.predict(image, Stages())

    return run


def _update(method: Method, image: NDArray[np.float32]) -> None:
    if method.learn(method.predict(image, Stages())) is None:
        raise SystemExit(f"{method.name} learned nothing from a frame; failures: {method.failures}")


def interleave(
    variants: dict[str, Callable[[], None]],
    *,
    rounds: int,
    frames: int,
    seed: int,
    settle: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Milliseconds of every timed frame. In each round every variant runs once untimed, then timed.

    Args:
        settle: waits, behind each variant, for what it left under way.
    """
    order, rng = list(variants), random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            variants[name]()
            for _ in range(1 if name == "d" else frames):
                begin = perf_counter_ns()
                variants[name]()
                times[name].append((perf_counter_ns() - begin) / 1e6)
            settle()
    return times


def summarise(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, quartiles, ratios of medians, and whether each target is met."""
    medians = {name: float(np.median(values)) for name, values in times.items()}
    ratios = {pair: medians[pair[0]] / medians[pair[2]] for pair in TARGETS}
    return {
        "median_ms": medians,
        "quartiles_ms": {name: np.percentile(values, [25, 75]).tolist() for name, values in times.items()},
        "frames": {name: len(values) for name, values in times.items()},
        "ratios": ratios,
        "met": {pair: _meets(ratios[pair], *target) for pair, target in TARGETS.items()},
    }


def _meets(ratio: float, relation: str, bound: float) -> bool:
    return ratio <= bound if relation == "<=" else ratio >= bound


if __name__ == "__main__":
    main()
