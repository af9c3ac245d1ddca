"""Every engine that can be had on this machine's GPU, in every precision, with what adapting adds to each.

    python -m benchmarks.gpu --out benchmarks/results/gpu.json --work /tmp/gpu --minutes 9

For a ViT-B/16 at batch 1, in fp32, fp16, int8 and bf16, it builds and runs PyTorch eager and compiled, TensorRT,
TensorRT-RTX, ONNX Runtime with CUDA and with TensorRT, as far as they are installed, with and without CUDA graphs:
    engine      the frozen backbone, taps left on the device
    prediction  the same + the sidecar's answer
    update      the same + a step of the weights, which runs beside the next answers
and the engine's own latency inside `prediction` and inside `update`: its p99 may grow by a factor of 1.2 at most.
Before that each engine is compared with the fp32 graph in ONNX Runtime on the CPU: taps, adapter gradients and
answers, by the thresholds of its precision. Weights and frames of that are real where `--checkpoint` names weights
or MOASE_EDGE_DATA a folder with `weights/` and `photos/`; the record says which. The ViT-B/16 has random weights
unless `--checkpoint` names some.

What cannot be built or had is `absent` in the record, what breaks is `failed`, each with the reason, and the rest
goes on. The record is written after each engine, and the same command goes on behind the last; with `--work` it
finds graphs and plans made. One engine is measured after the other, the three variants of one in turn.

    python -m benchmarks.gpu --device cpu --backbone digits_vit --rounds 2 --frames 3 --pictures 4

runs the same code with the engines that a CPU has; its figures say nothing of a GPU.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from benchmarks.gpu_engines import Contender, Place, contenders, find_place
from benchmarks.gpu_frames import data_file, frames_for
from benchmarks.gpu_record import Progress
from benchmarks.gpu_subject import UNJUDGED, Subject, make_subject, reason_of
from benchmarks.gpu_timing import P99_TARGET, compare, measure_engine
from moase_edge.artifact.files import sha256_of
from moase_edge.config.precision import THRESHOLDS, PrecisionSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.tensorrt.device import find_device
from moase_edge.engines.tensorrt.flavour import available_flavours, find_flavour
from moase_edge.errors import ConfigError, EngineError, MoaseEdgeError
from moase_edge.export.request import ExportRequest
from moase_edge.report.files import storage_error
from moase_edge.runtime.machine import describe_machine

REAL = ("deit_tiny", "weights/deit_tiny_patch16_224.safetensors")
PHOTOS = "photos"
# Frames of a network with random weights that is timed alone: graphs are made of it, and nothing is judged.
TIMED_PICTURES = 4

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write; ends the process with the exit code of what went wrong."""
    args = _parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        record = measure(args, find_place(args.device))
    except MoaseEdgeError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    for name, entry in record["engines"].items():
        print(told(name, entry))


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--checkpoint", type=Path, help="weights of the backbone; random ones without it")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", action="append", metavar="NAME", help="engines by name, * for any; repeatable")
    parser.add_argument("--again", action="store_true", help="measure what the record holds as well")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no further engine after so long"
    )
    parser.add_argument("--rounds", type=int, default=20, help="rounds; each times every variant, in random order")
    parser.add_argument("--frames", type=int, default=50, help="timed frames of each variant in a round")
    parser.add_argument("--pictures", type=int, default=36, help="frames that engines are compared on")
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="leave torch.compile out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder in which graphs and plans are kept; else they are not")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


def measure(args: argparse.Namespace, place: Place) -> dict[str, Any]:
    """Everything that the record lacks, as far as time allows; the whole record.

    Raises:
        ConfigError: the record that is there is of another measurement, or no engine has such a name.
        EngineError: no engine could be measured.
        MoaseEdgeError: the artifacts cannot be made, or the record cannot be written.
    """
    began, setup = monotonic(), setup_of(args, place)
    progress = Progress(args.out, setup)
    chosen = chosen_of(list(contenders(place, compiled=args.compiled)), args.only)
    waiting = progress.to_do(chosen, again=args.again)
    if waiting:
        with _folder(args.work) as folder:
            subjects = make_subjects(args, place, folder / _digest(setup))
            progress.note(**_facts(*subjects))
            while waiting and monotonic() - began < 60 * args.minutes:
                name = waiting.pop(0)
                progress.begin(name)
                progress.finish(name, measured(chosen[name], *subjects, args, place))
                logger.info("%s", told(name, progress.engines[name]))
    progress.note(pending=waiting)
    if not waiting and not any("latency_ms" in entry for entry in progress.engines.values()):
        why = " ".join(told(name, entry) for name, entry in progress.engines.items())
        raise EngineError(f"no engine could be measured. {why}")
    return progress.record


def setup_of(args: argparse.Namespace, place: Place) -> dict[str, Any]:
    """What must be the same for figures to stand in one record.

    Raises:
        StorageError: the checkpoint cannot be read.
    """
    backbone, weights = tested_weights(args)
    photos = data_file(PHOTOS)
    return {
        "backbone": args.backbone,
        "checkpoint": args.checkpoint and _digest_of(args.checkpoint),
        "parity": {
            "backbone": backbone,
            "weights": weights and weights.name,
            "photos": photos and photos.name,
            "pictures": pictures_of(args, photos),
        },
        "batch": 1,
        "device": str(place.device),
        "rounds": args.rounds,
        "frames": args.frames,
        "seed": args.seed,
        "machine": {
            **{name: of for name, of in describe_machine().items() if name != "memory_gib"},
            **gpu_facts(),
        },
    }


def _digest_of(checkpoint: Path) -> str:
    try:
        return sha256_of(checkpoint)
    except OSError as exc:
        raise storage_error("read", checkpoint, exc) from exc


def gpu_facts() -> dict[str, Any]:
    """GPU, driver, CUDA and the flavours of TensorRT; empty of what is not there."""
    device = find_device()
    facts = {} if device is None else {"gpu": device.gpu, "target": device.target, **device.versions}
    return {**facts, **{name: find_flavour(name).version for name in available_flavours()}}


def chosen_of(found: list[Contender], only: list[str] | None) -> dict[str, Contender]:
    """Contenders by name, those that were asked for.

    Raises:
        ConfigError: none has such a name.
    """
    names = {each.name: each for each in found}
    chosen = {name: each for name, each in names.items() if not only or any(fnmatch(name, word) for word in only)}
    if not chosen:
        raise ConfigError(f"no engine is called {' or '.join(only or [])}; there are: {'; '.join(names)}.")
    return chosen


def tested_weights(args: argparse.Namespace) -> tuple[str, Path | None]:
    """Backbone and weights for parity: those that are named, else published ones, else none."""
    published = data_file(REAL[1])
    if args.checkpoint is not None or published is None:
        return args.backbone, args.checkpoint
    return REAL[0], published


def pictures_of(args: argparse.Namespace, photos: Path | None) -> int:
    """Frames to compare on: as `export` does, fewer where they are noise."""
    seeded = PrecisionSettings().seeded_frames
    return int(args.pictures if photos is not None else min(args.pictures, seeded))


def make_subjects(args: argparse.Namespace, place: Place, folder: Path) -> tuple[Subject, Subject]:
    """What is compared, and what is timed: one and the same where its weights are named, or none are real."""

    def made(backbone: str, checkpoint: Path | None, pictures: int, photos: Path | None, name: str) -> Subject:
        return make_subject(
            ExportRequest(backbone, checkpoint=checkpoint, pretrained=False, seed=args.seed),
            lambda artifact: frames_for(artifact.manifest.preprocess, pictures, photos=photos, seed=args.seed),
            folder / name,
            runners=place.runners,
            target=place.target,
            thresholds=UNJUDGED if checkpoint is None else THRESHOLDS,
        )

    (backbone, weights), photos = tested_weights(args), data_file(PHOTOS)
    tested = made(backbone, weights, pictures_of(args, photos), photos, "tested")
    if (backbone, weights) == (args.backbone, args.checkpoint):
        return tested, tested
    return tested, made(args.backbone, args.checkpoint, TIMED_PICTURES, None, "timed")


def _facts(tested: Subject, timed: Subject) -> dict[str, Any]:
    return {
        "memory_gib": describe_machine()["memory_gib"],
        "weights": timed.artifact.manifest.provenance.weights,
        "p99_target": P99_TARGET,
        "parity": {
            "backbone": tested.artifact.manifest.provenance.backbone,
            "weights": tested.checkpoint.name if tested.checkpoint else "random",
            "frames": tested.reference.title,
            "against": "the fp32 graph in ONNX Runtime on the CPU",
            "thresholds": {name: of.model_dump() for name, of in THRESHOLDS.items()},
        },
        "made": {"tested": tested.made, "timed": timed.made},
    }


def measured(
    contender: Contender, tested: Subject, timed: Subject, args: argparse.Namespace, place: Place
) -> dict[str, Any]:
    """An engine's entry: parity, then latencies; or why it is absent, or how it failed."""
    logger.info("%s", contender.name)
    timing = partial(measure_engine, rounds=args.rounds, frames=args.frames, seed=args.seed)
    entry: dict[str, Any] = {"precision": contender.precision}
    with _warnings() as warnings:
        entry["parity"] = _of(
            contender, tested, lambda engine: compare(engine, tested, contender.precision, place.device)
        )
        entry.update(_of(contender, timed, lambda engine: timing(engine, timed, place.device)))
    if warnings:
        entry["warnings"] = list(dict.fromkeys(warnings))
    return entry


def _of(contender: Contender, subject: Subject, found: Callable[[Engine], dict[str, Any]]) -> dict[str, Any]:
    """What an engine gives; `absent` where it cannot be had, `failed` where it broke, whatever was raised."""
    try:
        engine = contender.open(subject)
    except Exception as exc:  # a compiler or a driver may raise anything, and the other engines go on
        return {
            "absent" if isinstance(exc, MoaseEdgeError) else "failed": reason_of(exc, subject.folder),
        }
    try:
        with closing(engine):
            return found(engine)
    except Exception as exc:  # likewise
        return {"failed": reason_of(exc, subject.folder)}
    finally:
        del engine
        _give_back()


def told(name: str, entry: dict[str, Any]) -> str:
    """An entry in a line, for people."""
    for why in ("absent", "failed", "unfinished"):
        if why in entry:
            return f"{name}: {why}: {entry[why]}"
    medians = ", ".join(f"{variant} {of['p50']:.2f} ms" for variant, of in entry["latency_ms"].items())
    parity = {True: "holds", False: "does not hold"}.get(entry["parity"].get("ok"), "is not known")
    return f"{name}: parity {parity}; {medians}; p99 with updates {entry['p99_ratio']:.2f} of that without"


def _give_back() -> None:
    """The GPU's memory, which the next engine may need."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What the package warns of meanwhile, as that a plan runs without the CUDA graph that was asked for."""
    collector = _Collector()
    of_package = logging.getLogger("moase_edge")
    of_package.addHandler(collector)
    try:
        yield collector.messages
    finally:
        of_package.removeHandler(collector)


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        yield work
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _digest(setup: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(setup, sort_keys=True).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
