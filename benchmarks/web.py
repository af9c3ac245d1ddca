"""What watching a run costs it: a scraper on /metrics and a client of the picture stream, against nobody.

    python -m benchmarks.web --artifact artifacts/deit --source car-detection.mp4 --out benchmarks/results/web.json

One run plays the video by its own clock, again and again, and adapts. Its windows take turns: in every other one
the browser view is served, and a process of its own scrapes /metrics once a second and reads /stream.mjpg as fast
as pictures come; in the others nothing listens. The client shares the machine, so its cost counts as the view's.
The first frames of each window are left out. Ratios of the engine's median and 99th percentile are what to quote.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from moase_edge.frames.open import open_source
from moase_edge.frames.repeated import RepeatedSource
from moase_edge.frames.source import Source
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.web.address import listen
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.server import WebServer

TARGETS = {"median": 1.15, "p99": 1.5}
MODES = ("alone", "watched")
STAGES = ("engine", "total", "age")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--source", help="a video")
    parser.add_argument("--windows", type=int, default=20, help="half of them watched")
    parser.add_argument("--frames", type=int, default=150, help="counted frames of a window")
    parser.add_argument("--settle", type=int, default=25, help="frames before these that are not")
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime")
    parser.add_argument("--adapt", default="every")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    result = measure(args)
    record = {
        "benchmark": "web",
        **{name: value for name, value in vars(args).items() if name not in ("artifact", "out")},
        "source": Path(args.source).name,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "targets": TARGETS,
        **result,
    }
    print(json.dumps(result, indent=1))
    for name, ratio in result["ratios"].items():
        print(f"engine {name}: {ratio:.3f} times that without (at most {TARGETS[name]})")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all windows; figures by mode."""

    times: dict[str, dict[str, list[float]]] = {mode: {stage: [] for stage in STAGES} for mode in MODES}
    told: list[dict[str, int]] = []
    source = RepeatedSource(lambda: open_source(args.source, pace="real"))
    with (
        closing(Pipeline.open(args.artifact, adapt=args.adapt, threads=args.threads)) as pipeline,
        closing(source),
    ):
        results = pipeline.run(source)
        for _ in islice(results, args.settle):
            pass
        for number in range(args.windows):
            mode = MODES[(number + number // 2) % 2]  # alone, watched, watched, alone, ...
            if mode == "alone":
                run_window(args, pipeline, results, None, times[mode])
            else:
                with watching(pipeline, source, told) as live:
                    run_window(args, pipeline, results, live, times[mode])
        results.close()
        counts = dict(pipeline.record.counts)
    return {**summarise(times), "counts": counts, "clients": told}


def run_window(
    args: argparse.Namespace, pipeline: Pipeline, results: Iterator[Any], live: Live | None, times: dict[str, Any]
) -> None:
    """Let the run go on for so many frames, and keep what their stages took."""
    seen = 0

    def timed(answers: Sequence[Any], stages: Any, update: Any) -> None:
        nonlocal seen
        seen += 1
        if live is not None:
            live.learned(answers, stages, update)
        if seen > args.settle:
            for stage in STAGES:
                times[stage].append(stages.durations_ms[stage])

    pipeline.on_batch = timed
    for result in islice(results, args.settle + args.frames):
        if live is not None:
            live.answered(result)
    pipeline.on_batch = None


@contextmanager
def watching(pipeline: Pipeline, source: Source, told: list[dict[str, int]]) -> Iterator[Live]:
    """Serve the run, and have a process watch it."""

    live, address = Live(pipeline, source), listen("127.0.0.1:0", None)
    with WebServer(live, address):
        command = [sys.executable, "-m", "benchmarks.web_client", str(address.port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            try:
                yield live
            finally:
                said, _ = client.communicate("", timeout=20)
                told.append(json.loads(said))


def summarise(times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Percentiles by mode and stage, ratios of the engine's, and whether they are within the targets."""
    figures = {
        mode: {
            stage: {
                "frames": len(values),
                **{name: float(np.percentile(values, percent)) for name, percent in (("median", 50), ("p99", 99))},
                "max": max(values),
            }
            for stage, values in stages.items()
        }
        for mode, stages in times.items()
    }
    alone, watched = (figures[mode]["engine"] for mode in MODES)
    ratios = {name: watched[name] / alone[name] for name in TARGETS}
    return {"ms": figures, "ratios": ratios, "met": {name: ratios[name] <= TARGETS[name] for name in TARGETS}}


if __name__ == "__main__":
    main()
