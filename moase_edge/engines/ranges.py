"""Watch what goes into and comes out of an int8 engine, beside what its calibration frames spanned.

An int8 engine clips what lies beyond its ranges, silently; a shift of domain is when that happens. The activations
inside a plan are not to be had, so this sees the images, the taps, the frozen logits and, where the engine can be
steered, the token means, and no layer by itself. The images' range is that of the first layer; the taps are the
residual stream, from which the last layers' inputs are normalised; the token means tell of every block's entrance.

A frame counts once, by its first run. Where that is steered, its outputs are of steered tokens, as are the
activations that the ranges hold; the token means of the block that is steered, and of those before it, lie before
the shift.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.calibration import load_calibration
from moase_edge.artifact.store import Artifact
from moase_edge.engines.base import DeviceEngine, Engine, Tensors, precision_of

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

# Of a span, by which a value may leave it: of a few hundred frames the next one exceeds the largest now and then.
MARGIN = 0.1


class WatchedEngine:
    """An engine, and a count of the frames whose values leave the span of the calibration frames.

    Every run is looked at; once `new_frames` was called, the first alone that follows each call of it.

    Args:
        engine: that is watched; what else it offers is passed on.
        spans: lowest and highest value by tensor; one that the engine does not return is not watched.
        images: name in `spans` of the input.

    Attributes:
        outside: frames so far by tensor, of those that left its span.
        frames: that were looked at.
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
        self._told = self._again = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """As the engine's own; looks at every frame of the batch, steered or not, that was not run before."""
        outputs = self._engine.run(images) if shift is None else self._engine.run(images, shift)
        if self._is_first():
            self.look(images, outputs)
        return outputs

    def new_frames(self) -> None:
        """The next run is of other frames; what follows it, for a trial or an update, is of the same ones."""
        self._told, self._again = True, False

    def _is_first(self) -> bool:
        first, self._again = not self._again, self._told
        return first

    def look(self, images: NDArray[np.float32], outputs: Tensors) -> None:
        """Count what leaves its span.

        Args:
            images: (B, 3, H, W).
            outputs: for them, those that are watched at least, (B, ...) each, in host memory.
        """
        self.frames += len(images)
        for name, values in {self._images: images, **outputs}.items():
            if name in self._bounds:
                self._count(name, values)

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


class WatchedDeviceEngine(WatchedEngine):
    """The same of an engine whose outputs stay on its device.

    Only lowest and highest value of each row come to the host, because taps are large.

    Args:
        engine: that is watched, an `Engine` too.
        spans, images: as of `WatchedEngine`.

    Attributes:
        device: of the engine.
    """

    def __init__(
        self, engine: DeviceEngine, spans: Mapping[str, tuple[float, float]], *, images: str = "images"
    ) -> None:
        super().__init__(cast(Engine, engine), spans, images=images)
        self._on_device = engine
        self.device = engine.device

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        """As the engine's own; looks as `run` does, and waits for the outputs then."""
        run = self._on_device.run_on_device
        outputs = run(images) if shift is None else run(images, shift)
        if self._is_first():
            self.look(images, {name: _ends(value) for name, value in outputs.items() if name in self._bounds})
        return outputs


def _ends(values: Tensor) -> NDArray[np.float32]:
    """Lowest and highest value of each row (B, ...) -> (B, 2), in host memory."""
    rows = values.detach().reshape(len(values), -1)
    low, high = rows.amin(dim=1).cpu().numpy(), rows.amax(dim=1).cpu().numpy()
    return np.stack([low, high], axis=1)


def watched(artifact: Artifact, engine: Engine) -> Engine:
    """`engine`, watched where it is int8 and the artifact says what its calibration frames spanned.

    Raises:
        ArtifactError: the artifact's calibration is damaged.
    """
    record = load_calibration(artifact) if precision_of(engine) == "int8" else None
    if record is None:
        return engine
    if isinstance(engine, DeviceEngine):
        return WatchedDeviceEngine(engine, record.spans)
    return WatchedEngine(engine, record.spans)


def count_anew(engine: Engine | None) -> None:
    """Begin to count, and to warn, from 0, where an engine is watched."""
    if isinstance(engine, WatchedEngine):
        engine.outside.clear()
        engine.frames = 0


def new_frames(engine: Engine | None) -> None:
    """Tell an engine that is watched that its next run is of frames that it has not seen."""
    if isinstance(engine, WatchedEngine):
        engine.new_frames()


def counts_outside(engine: Engine | None) -> dict[str, int]:
    """Frames outside the calibrated range, as a report calls them; empty for an engine not watched."""
    outside = engine.outside if isinstance(engine, WatchedEngine) else {}
    return {f"frames outside the calibrated range of {name}": count for name, count in outside.items() if count}


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = MARGIN * (high - low)
    return low - margin, high + margin
