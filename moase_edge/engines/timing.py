"""Which of several engines is the fastest here: one frame at a time, in turn, so that all meet one machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision
from moase_edge.engines.base import Engine
from moase_edge.engines.tensorrt.device import find_device
from moase_edge.errors import EngineError, GateError
from moase_edge.metrics.processor import processor_name

Name = TypeVar("Name", bound=str)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """What an engine takes for one frame, and what it was measured on."""

    latency_ms: float
    measured_on: str


def measure(
    openers: Mapping[Name, Callable[[], Engine]],
    image: NDArray[np.float32],
    *,
    rounds: int,
    warm_up: int,
    seconds: float,
) -> dict[Name, Measured]:
    """Open engines, measure them in turn (see `interleaved_ms`), close them; what cannot run here is left out."""
    with ExitStack() as stack:
        engines: dict[Name, Engine] = {}
        for name, opener in openers.items():
            try:
                engines[name] = opener()
            except (EngineError, GateError) as exc:
                logger.info("%s is not measured: %s", name, exc)
                continue
            stack.callback(engines[name].close)
        spent_ms = (
            interleaved_ms(engines, image, rounds=rounds, warm_up=warm_up, seconds=seconds) if engines else {}
        )
        return {name: Measured(spent_ms[name], place_of(engines[name])) for name in spent_ms}


def place_of(engine: Engine) -> str:
    """What runs an engine and on what: "ONNX Runtime 1.32 (CUDA) on NVIDIA L4"; the processor without a GPU."""
    gpu = find_device() if any(word in engine.name for word in ("(CUDA", "(TENSORRT", "TensorRT")) else None
    return f"{engine.name} on {processor_name() if gpu is None else gpu.gpu}"


def interleaved_ms(
    engines: Mapping[Name, Engine],
    image: NDArray[np.float32],
    *,
    rounds: int,
    warm_up: int = 3,
    seconds: float = float("inf"),
) -> dict[Name, float]:
    """Median latency of one frame in milliseconds, by engine.

    Each round runs every engine once, and another one first each time.

    Args:
        image: (1, 3, H, W) float32.
        rounds: that count, at least one.
        warm_up: rounds before them.
        seconds: no further round begins after so long.
    """
    names = list(engines)
    spent_ms: dict[Name, list[float]] = {name: [] for name in names}
    end_ns = perf_counter_ns() + seconds * 1e9
    for index in range(warm_up + rounds):
        if index and min(map(len, spent_ms.values())) and perf_counter_ns() > end_ns:
            break
        first = index % len(names)
        for name in names[first:] + names[:first]:
            begin_ns = perf_counter_ns()
            engines[name].run(image)
            elapsed_ms = (perf_counter_ns() - begin_ns) / 1e6
            if index >= warm_up:
                spent_ms[name].append(elapsed_ms)
    return {name: float(np.median(values)) for name, values in spent_ms.items()}


def fastest(latency_ms: Mapping[Precision, float], *, tie: float) -> Precision:
    """The precision to run in: the fastest, but fp32 where nothing is faster than it by more than the share `tie`.

    Args:
        latency_ms: by precision, one at least.
    """
    best = min(latency_ms, key=lambda precision: latency_ms[precision])
    exact = latency_ms.get("fp32", float("inf"))
    return best if latency_ms[best] < (1 - tie) * exact else "fp32"
