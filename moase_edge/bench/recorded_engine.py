"""An engine that remembers, so that several methods see one stream for the cost of one."""

from __future__ import annotations

import hashlib
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.base import Engine, Tensors


class RecordedEngine:
    """Runs each batch once and hands out copies of its outputs afterwards.

    Outputs are kept by the bytes of the batch and of its shift: a method cannot tell it from the engine itself,
    except by its speed.

    Args:
        engine: what runs a batch the first time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._outputs: dict[tuple[bytes, bytes], Tensors] = {}
        self._spent_ms = 0.0
        self._frames = 0
        self.name = f"{engine.name}, recorded"

    @property
    def ms_per_frame(self) -> float:
        """Mean milliseconds a frame of the runs that were real; NaN before the first."""
        return self._spent_ms / self._frames if self._frames else float("nan")

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        key = (_digest(images), b"" if shift is None else _digest(shift))
        if key not in self._outputs:
            begin = perf_counter_ns()
            self._outputs[key] = self._engine.run(images, shift)
            self._spent_ms += (perf_counter_ns() - begin) / 1e6
            self._frames += len(images)
        return {name: value.copy() for name, value in self._outputs[key].items()}

    def forget(self) -> None:
        """Let go of all outputs, and of the time that they took."""
        self._outputs.clear()
        self._spent_ms, self._frames = 0.0, 0

    def close(self) -> None:
        """Release the engine and the outputs."""
        self.forget()
        self._engine.close()


def _digest(array: NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(array.tobytes(), digest_size=16).digest()
