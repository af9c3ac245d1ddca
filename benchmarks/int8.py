"""What int8 costs in accuracy and in time: DeiT-Tiny on photographs, by method of choosing ranges.

    python -m benchmarks.int8 --data DATA --out benchmarks/results/int8.json

DATA holds `photos/` with `labels.json` and `weights/deit_tiny_patch16_224.safetensors`. For each seed the photos
are dealt into two halves. The calibration half alone decides: half of it gives the ranges, the other half judges
the methods and the mixture. `moase-edge calibrate --calib-data` does the same, but holds one frame in three out,
of 256 at most, leaves near-duplicates out, and always measures the sensitivity of layers, on 16 frames; this takes
8, and only where the budget asks for it. The test half is only answered, once by the float engine and once by the
int8 graph that was chosen; with `--variants`, also by one graph a method with every product in int8 that may be.
`plain` is one method for every tensor; `shipped` evens out LayerNorm channels and never clips them. Latency of the
float and the int8 engine is measured in one run, in turn; quote the ratio of medians. With `--work DIR` what is
done is kept there, and another run goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.overhead import interleave
from moase_edge.artifact.store import load_artifact
from moase_edge.calib.fidelity import Fidelity, fidelity_of, run_graph
from moase_edge.calib.products import load_graph
from moase_edge.calib.qdq import with_qdq
from moase_edge.calib.quantise import prepare, share_of
from moase_edge.calib.search import dealt, find_int8
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.config.names import RangeMethod
from moase_edge.engines.base import Tensors
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import GateError
from moase_edge.export.bundle import ONNX_FILE, ExportRequest, export_artifact
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.report.files import read_json, write_json
from moase_edge.runtime.machine import describe_machine

BACKBONE = "deit_tiny_patch16_224"
VARIANTS = {"plain": QuantiseSettings(norms=None, smooth=0.0), "shipped": QuantiseSettings()}
SEARCH = SearchSettings(hold_out=2, probes=8, always_probe=False)
TARGETS = {"mean_points_lost": ("<=", 1.0), "least_share": (">=", 0.8)}


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """All photos, preprocessed, with what the float engine says of them."""

    frames: list[NDArray[np.float32]]
    labels: list[int]
    outputs: list[Tensors]

    def judge(self, found: Sequence[Tensors], rows: Sequence[int]) -> Fidelity:
        """Compare outputs for the photos `rows` with the float engine's."""
        expected, labels = ([of[row] for row in rows] for of in (self.outputs, self.labels))
        return fidelity_of(found, expected, head=True, labels=labels)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variants", nargs="*", choices=sorted(VARIANTS), default=[])
    parser.add_argument(
        "--rounds", type=int, default=40, help="of timing; each times both engines in random order"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for what is done; empty it after any change of the code")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        model = exported(args.data, work)
        photos = load_photos(args.data / "photos", model, work)
        halves = [measure_half(model, photos, seed, work, args.variants) for seed in args.seeds]
        latency = measure_latency(model, work / f"{args.seeds[0]}.onnx", photos, args)
    record = {
        "benchmark": "int8",
        "backbone": BACKBONE,
        "photos": len(photos.frames),
        "seeds": args.seeds,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "settings": {name: settings.model_dump() for name, settings in VARIANTS.items()},
        "search": SEARCH.model_dump(),
        "targets": TARGETS,
        "summary": summarise(halves),
        "latency": latency,
        "halves": halves,
    }
    print(json.dumps({"summary": record["summary"], "latency": latency}, indent=1))
    if args.out:
        write_json(args.out, record)


def exported(data: Path, work: Path) -> Path:
    """The float graph of an artifact in `work`, made where there is none."""
    folder = work / "artifact"
    if not folder.exists():
        checkpoint = data / "weights" / f"{BACKBONE}.safetensors"
        export_artifact(ExportRequest(BACKBONE, checkpoint=checkpoint), folder)
    return load_artifact(folder).path(ONNX_FILE)


def load_photos(folder: Path, model: Path, work: Path) -> Photos:
    """Every labelled photo, and the float graph's answer to it."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    prepare_frame = Preprocessor(load_artifact(model.parent).manifest.preprocess)
    with open_source(str(folder)) as source:
        taken = [(prepare_frame.batch([frame.image]), labels[frame.name]) for frame in source.frames()]
    frames, kept = [frame for frame, _ in taken], work / "float.npz"
    if not kept.exists():
        outputs = run_graph(load_graph(model), frames)
        np.savez(kept, **{name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]})
    with np.load(kept) as stored:
        arrays = dict(stored)
    rows = [{name: array[row : row + 1] for name, array in arrays.items()} for row in range(len(frames))]
    return Photos(frames, [label for _, label in taken], rows)


@dataclass(frozen=True, slots=True)
class Split:
    """One seed's halves, as rows of the photos, and where what was done is kept."""

    calibration: list[int]
    test: list[int]
    seen: Path

    @classmethod
    def of(cls, photos: Photos, seed: int, work: Path) -> Split:
        """Deal the photos."""
        order = np.random.default_rng(seed).permutation(len(photos.frames)).tolist()
        half = len(order) // 2
        return cls(sorted(order[:half]), sorted(order[half:]), work / "seen")


def measure_half(model: Path, photos: Photos, seed: int, work: Path, variants: list[str]) -> dict[str, Any]:
    """One split: choose on the calibration half, answer the test half."""
    halves = Split.of(photos, seed, work)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "chosen": lambda: choose(model, photos, halves, work / f"{seed}.onnx"),
        **{name: partial(try_methods, model, photos, halves, VARIANTS[name]) for name in variants},
    }
    record: dict[str, Any] = {"seed": seed, "calibration": len(halves.calibration), "test": len(halves.test)}
    for name, part in parts.items():
        kept = work / f"{seed}-{name}.json"
        if not kept.exists():
            write_json(kept, part())
        record[name] = read_json(kept)
        print(seed, name, json.dumps(record[name]), flush=True)
    return record


def try_methods(model: Path, photos: Photos, split: Split, settings: QuantiseSettings) -> dict[str, Any]:
    """What each method loses on the test half, with ranges of the frames that a search would take them from."""
    ranging, _ = dealt(split.calibration, SEARCH.hold_out)
    ready = prepare(load_graph(model), [photos.frames[row] for row in ranging], settings, cache=split.seen)
    nodes, tested = [product.node for product in ready.chosen], [photos.frames[row] for row in split.test]
    record: dict[str, Any] = {"share": share_of(ready.chosen, ready.kept)}
    for method in get_args(RangeMethod):
        found = run_graph(with_qdq(ready.graph, ready.ranges(settings, method), nodes), tested)
        record[method] = _figures(photos.judge(found, split.test))
    return record


def choose(model: Path, photos: Photos, split: Split, out: Path) -> dict[str, Any]:
    """What `calibrate` makes of the calibration half, and what that loses on the test half.

    Where no mixture keeps the budget, all products go in int8, and the record says what was refused.
    """
    frames, labels = ([of[row] for row in split.calibration] for of in (photos.frames, photos.labels))
    options: dict[str, Any] = {"head": True, "labels": labels, "cache": split.seen}
    refused = None
    try:
        found = find_int8(model, out, frames, VARIANTS["shipped"], SEARCH, **options)
    except GateError as exc:
        refused = str(exc)
        loose = SEARCH.model_copy(update={"max_drop": 100.0})
        found = find_int8(model, out, frames, VARIANTS["shipped"], loose, **options)
    answers = run_graph(load_graph(out), [photos.frames[row] for row in split.test])
    return {
        "method": found.method,
        "refused": refused,
        "share": found.quantised.share,
        "in_float": [step.floated.title for step in found.steps if step.floated is not None],
        "judged": _figures(found.fidelity),
        "by_method": {method: _figures(fidelity) for method, fidelity in found.by_method.items()},
        "test": _figures(photos.judge(answers, split.test)),
    }


def _figures(fidelity: Fidelity) -> dict[str, float | None]:
    return {
        "float_accuracy": fidelity.source_accuracy,
        "accuracy": fidelity.accuracy,
        "points_lost": fidelity.drop,
        "agreement": fidelity.agreement,
        "feature_error": fidelity.feature_error,
    }


def summarise(halves: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and whether the targets are met by what was chosen.

    `judged` is by method, on the held-out quarter that the choice was made on; all else is on the test half.
    """
    chosen = _means([half["chosen"]["test"] for half in halves])
    least = min(half["chosen"]["share"] for half in halves)
    variants = [name for name in VARIANTS if all(name in half for half in halves)]
    return {
        "chosen": {**chosen, "least_share": least, "methods": [half["chosen"]["method"] for half in halves]},
        "met": {
            "mean_points_lost": chosen["points_lost"] <= TARGETS["mean_points_lost"][1],
            "least_share": least >= TARGETS["least_share"][1],
        },
        "judged": {
            method: _means([half["chosen"]["by_method"][method] for half in halves])
            for method in get_args(RangeMethod)
        },
        **{
            name: {method: _means([half[name][method] for half in halves]) for method in get_args(RangeMethod)}
            for name in variants
        },
    }


def _means(figures: list[dict[str, float]]) -> dict[str, Any]:
    means = {key: float(np.mean([each[key] for each in figures])) for key in figures[0]}
    return {**means, "points_lost_by_seed": [each["points_lost"] for each in figures]}


def measure_latency(model: Path, int8: Path, photos: Photos, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a frame of both engines, in turn."""
    files = {"fp32": model, "int8": int8}
    engines = {name: OnnxRuntimeEngine(file, threads=args.threads) for name, file in files.items()}
    frame = photos.frames[0]
    variants = {name: (lambda engine=engine: _run(engine, frame)) for name, engine in engines.items()}
    times = interleave(variants, rounds=args.rounds, frames=4, seed=0)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "threads": args.threads,
        "median_ms": medians,
        "quartiles_ms": {name: np.percentile(values, [25, 75]).tolist() for name, values in times.items()},
        "frames": {name: len(values) for name, values in times.items()},
        "int8/fp32": medians["int8"] / medians["fp32"],
    }


def _run(engine: OnnxRuntimeEngine, frame: NDArray[np.float32]) -> None:
    engine.run(frame)


if __name__ == "__main__":
    main()
