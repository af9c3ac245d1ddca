"""Parity and latency of one engine: alone, with a prediction, and with updates that run beside the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu_subject import Subject
from benchmarks.overhead import SOURCE_IMAGES, interleave, named, noise
from moase_edge.artifact.store import Artifact
from moase_edge.calib.source_statistics import source_statistics_of
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.precision import THRESHOLDS, GraphPrecision
from moase_edge.engines.base import DeviceEngine, Engine, Tensors
from moase_edge.errors import EngineError
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.split_method import build_split_method
from moase_edge.runtime.stages import Stages
from moase_edge.runtime.streams import Answering, answering_stream

P99_TARGET = 1.2
WARM_UP = 8


@dataclass(slots=True)
class Inside:
    """What the engine takes inside a variant that it serves, frame by frame.

    Attributes:
        waited_ms: that the host waits.
        worked_ms: that the GPU works.
    """

    waited_ms: list[float] = field(default_factory=list)
    worked_ms: list[float] = field(default_factory=list)


class Ready:
    """Frames that are made before a clock is read; no two are alike.

    Args:
        stream: makes them.
        count: that are at hand after `refill`.
    """

    def __init__(self, stream: Iterator[NDArray[np.float32]], count: int) -> None:
        self._stream, self._count = stream, count
        self._frames: deque[NDArray[np.float32]] = deque()

    def refill(self) -> None:
        """Make as many as were taken."""
        self._frames.extend(islice(self._stream, self._count - len(self._frames)))

    def take(self) -> NDArray[np.float32]:
        """(1, 3, H, W); made now where none is left."""
        return self._frames.popleft() if self._frames else next(self._stream)


class DeviceAnswers:
    """A device engine whose answers are taken as the sidecar takes them: from buffers that change turns.

    Args:
        engine: whose `run` has buffers of its own, which nothing that is timed uses.
        answering: on which stream it runs.
    """

    def __init__(self, engine: DeviceEngine, answering: Answering) -> None:
        self._engine, self._answering = engine, answering
        self.name = str(getattr(engine, "name", ""))

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """Outputs on the host."""
        with self._answering():
            found = self._engine.run_on_device(images, shift)
            return {name: value.cpu().numpy().copy() for name, value in found.items()}

    def close(self) -> None:
        """The engine is another's."""


def compare(engine: Engine, subject: Subject, precision: GraphPrecision, device: torch.device) -> dict[str, Any]:
    """Taps, adapter gradients and answers against the fp32 graph, judged by the precision's thresholds."""
    answers = DeviceAnswers(engine, answering_stream(device)) if isinstance(engine, DeviceEngine) else engine
    comparison = subject.reference.compare(answers, THRESHOLDS[precision])
    figures = comparison.figures(engine.name).model_dump(exclude={"passed", "measured_on"})
    return {"ok": not comparison.failures, "failures": comparison.failures, **figures}


def measure_engine(
    engine: Engine, subject: Subject, device: torch.device, *, rounds: int, frames: int, seed: int
) -> dict[str, Any]:
    """Engine alone, prediction, and prediction with updates, in turn; and the engine's share of the last two.

    Source statistics are this engine's own: another precision's error would look like a shift.

    Raises:
        EngineError: it failed, or what adapts beside it.
    """
    images = islice(named(noise(size_of(subject.artifact), seed + 1)), SOURCE_IMAGES)
    statistics = source_statistics_of(engine, subject.sidecar(), images)
    answering, learning = (build_split_method(engine, subject.sidecar(), learns(), statistics) for _ in range(2))
    inside = {"prediction": Inside(), "update": Inside()}
    ready = Ready(noise(size_of(subject.artifact), seed), frames + 1)
    variants = _variants(engine, answering, learning, inside, ready, device)

    def settle() -> None:
        learning.state()  # which waits for the update under way
        ready.refill()

    try:
        # Buffers and CUDA graphs are made before an update runs beside them, then what is learned from is found.
        for run in (variants["engine"], variants["engine"], *list(variants.values()) * WARM_UP):
            run()
        inside.update(prediction=Inside(), update=Inside())
        settle()
        times = interleave(variants, rounds=rounds, frames=frames, seed=seed, settle=settle)
    finally:
        for method in (answering, learning):
            method.close()
    for method in (answering, learning):
        if method.failures:
            raise EngineError(f"{engine.name} answered and then failed: {dict(method.failures)}")
    return {"name": engine.name, **summarise(times, inside), "counts": learning.counts()}


def _variants(
    engine: Engine,
    answering: SplitMethod,
    learning: SplitMethod,
    inside: dict[str, Inside],
    ready: Ready,
    device: torch.device,
) -> dict[str, Callable[[], None]]:
    on_stream = answering_stream(device)
    return {
        "engine": lambda: _alone(engine, ready.take(), on_stream, device),
        "prediction": lambda: _predict(answering, ready.take(), inside["prediction"], learn=False),
        "update": lambda: _predict(learning, ready.take(), inside["update"], learn=True),
    }


def learns() -> AdaptSettings:
    """What ships, and a step of the weights on every frame."""
    return ADAPT_PRESETS["edge"].model_copy(update={"objectives": {"consistency": 1.0}})


def _alone(engine: Engine, image: NDArray[np.float32], on_stream: Answering, device: torch.device) -> None:
    if not isinstance(engine, DeviceEngine):
        engine.run(image)
        return
    with on_stream():
        engine.run_on_device(image)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()


def _predict(method: SplitMethod, image: NDArray[np.float32], inside: Inside, *, learn: bool) -> None:
    stages = Stages()
    prediction = method.predict(image, stages)
    inside.waited_ms.append(stages.durations_ms["engine"])
    inside.worked_ms.extend(stages.device_ms.values())
    if learn:
        method.learn(prediction)


def summarise(times: dict[str, list[float]], inside: dict[str, Inside]) -> dict[str, Any]:
    """Percentiles of every variant, and whether updates hold the engine up."""
    p99 = {name: float(np.percentile(of.waited_ms, 99)) for name, of in inside.items()}
    ratio = p99["update"] / p99["prediction"]
    return {
        "latency_ms": {name: _percentiles(values) for name, values in times.items()},
        "engine_inside_ms": {name: _percentiles(of.waited_ms) for name, of in inside.items()},
        "engine_worked_ms": {name: _percentiles(of.worked_ms) for name, of in inside.items() if of.worked_ms},
        "p99_ratio": ratio,
        "met": ratio <= P99_TARGET,
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    points = np.percentile(values, [50, 95, 99])
    return {"count": len(values), **dict(zip(("p50", "p95", "p99"), map(float, points), strict=True))}


def size_of(artifact: Artifact) -> tuple[int, int]:
    """Height and width of its frames."""
    return artifact.manifest.preprocess.height, artifact.manifest.preprocess.width
