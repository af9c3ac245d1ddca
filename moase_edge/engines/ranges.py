"""Watch what goes into and comes out of an int8 engine, beside what its calibration frames spanned.

An int8 engine clips what lies beyond its ranges, silently; a shift of domain is when that happens. The activations
inside a plan are not to be had, so this sees the images, the taps, the frozen logits and, where the engine can be
steered, the token means, and no layer by itself. The images' range is that of the first layer; the taps are the
residual stream, from which the last layers' inputs are normalised; the token means tell of every block's entrance.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.calibration import load_calibration
from moase_edge.artifact.store import Artifact
from moase_edge.engines.base import Engine, Tensors, precision_of

logger = logging.getLogger(__name__)

# Of a span, by which a value may leave it: of a few hundred frames the next one exceeds the largest now and then.
MARGIN = 0.1


class WatchedEngine:
    """An engine, and a count of the frames whose values leave the span of the calibration frames.

    Args:
        engine: that is watched; what else it offers is passed on.
        spans: lowest and highest value by tensor; one that the engine does not return is not watched.
        images: name in `spans` of the input.

    Attributes:
        outside: frames so far by tensor, of those that left its span.
        frames: that were run.
    """

    def __init__(
        self, engine: Engine, spans: Mapping[str, tuple[float, float]], *, images: str = "images"
    ) -> None:
        self._engine = engine
        self._bounds = {name: _widened(*span) for name, span in spans.items()}
        self._images = images
        self.name = engine.name
        self.outside: dict[str, int] = Counter()
        self.frames = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """As the engine's own; looks at every frame of the batch."""
        outputs = self._engine.run(images) if shift is None else self._engine.run(images, shift)
        self.frames += len(images)
        for name, values in {self._images: images, **outputs}.items():
            if name in self._bounds:
                self._count(name, values)
        return outputs

    def _count(self, name: str, values: NDArray[np.float32]) -> None:
        low, high = self._bounds[name]
        rows = values.reshape(len(values), -1)
        # Not finite counts as outside: no comparison with it holds.
        inside = (rows.min(axis=1) >= low) & (rows.max(axis=1) <= high)
        leaving = int((~inside).sum())
        if leaving and not self.outside[name]:
            logger.warning(
                "%s leaves the range of the calibration frames (%.3g to %.3g; got %.3g to %.3g): the int8 engine "
                "may clip. Further frames are counted. Calibrate on frames like these, or run another precision.",
                name,
                low,
                high,
                float(rows.min()),
                float(rows.max()),
            )
        self.outside[name] += leaving

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def watched(artifact: Artifact, engine: Engine) -> Engine:
    """`engine`, watched where it is int8 and the artifact says what its calibration frames spanned.

    Raises:
        ArtifactError: the artifact's calibration is damaged.
    """
    record = load_calibration(artifact) if precision_of(engine) == "int8" else None
    return engine if record is None else WatchedEngine(engine, record.spans)


def count_anew(engine: Engine | None) -> None:
    """Begin to count, and to warn, from 0, where an engine is watched."""
    if isinstance(engine, WatchedEngine):
        engine.outside.clear()
        engine.frames = 0


def counts_outside(engine: Engine | None) -> dict[str, int]:
    """Frames outside the calibrated range, as a report calls them; empty for an engine not watched."""
    outside = engine.outside if isinstance(engine, WatchedEngine) else {}
    return {f"frames outside the calibrated range of {name}": count for name, count in outside.items() if count}


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = MARGIN * (high - low)
    return low - margin, high + margin
