"""An engine that remembers, so that several methods see one stream for the cost of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.base import Engine, Tensors, precision_of


class RecordedEngine:
    """Runs each batch once and hands out copies of its outputs afterwards.

    Outputs are kept by the bytes of the batch and of its shift: a method cannot tell it from the engine itself,
    except by its speed. What a run took where it was real is kept with them.

    Args:
        engine: what runs a batch the first time.
        keep_steered: whether runs with a shift are kept too. They repeat where another method steers the same
            frames alike; one that goes on learning steers by another shift each time.
    """

    def __init__(self, engine: Engine, *, keep_steered: bool = True) -> None:
        self._engine = engine
        self._keep_steered = keep_steered
        self._recorded: dict[tuple[bytes, bytes], tuple[Tensors, float]] = {}
        self.restart_clocks()
        self.name = f"{engine.name}, recorded"
        self.precision = precision_of(engine)

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        begin = perf_counter_ns()
        outputs, real_ms = self._looked_up(images, shift)
        copies = {name: value.copy() for name, value in outputs.items()}
        self._real_ms += real_ms
        self._spent_ms += (perf_counter_ns() - begin) / 1e6
        return copies

    def _looked_up(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None) -> tuple[Tensors, float]:
        """Outputs, and the milliseconds that they took where they were computed."""
        key = (_digest(images), b"" if shift is None else _digest(shift))
        if key in self._recorded:
            return self._recorded[key]
        begin = perf_counter_ns()
        outputs = self._engine.run(images, shift)
        real_ms = (perf_counter_ns() - begin) / 1e6
        if shift is None or self._keep_steered:
            self._recorded[key] = outputs, real_ms
        return outputs, real_ms

    def restart_clocks(self) -> None:
        """Time the runs from now on."""
        self._real_ms = self._spent_ms = 0.0

    def as_if_real(self, ms_by_stage: Mapping[str, float], frames: int) -> dict[str, float]:
        """Stages with every run since `restart_clocks` in `engine`, at what it took where it was real.

        Second runs of an update, such as trials, go from `update` to `engine`. A replayed batch is not faster, it
        is only not computed again.

        Args:
            ms_by_stage: mean milliseconds a frame, as measured.
            frames: over which that is the mean.
        """
        stages = {**ms_by_stage, "engine": self._real_ms / frames}
        if "update" in ms_by_stage:
            rest = ms_by_stage.get("engine", 0.0) + ms_by_stage["update"] - self._spent_ms / frames
            stages["update"] = max(rest, 0.0)
        return stages

    def forget(self) -> None:
        """Let go of all outputs."""
        self._recorded.clear()

    def close(self) -> None:
        """Release the engine and the outputs."""
        self.forget()
        self._engine.close()


def _digest(array: NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(array.tobytes(), digest_size=16).digest()
