"""One batch through an engine that a tracker steers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.domain import Recognition
from moase_edge.adapt.tracker import Tracker
from moase_edge.artifact.specs import TOKEN_MEANS


class Runs(Protocol):
    """An engine, or one that leaves its taps on the device, as PyTorch's tensors."""

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Mapping[str, Any]:
        """(B, 3, H, W), and (B, L, C) to steer -> outputs by name."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrackedRun:
    """What the engine returned, and how it was steered.

    Attributes:
        outputs: by name, arrays, or PyTorch's tensors for taps that stay on a device; rows that were run again
            hold what that gave.
        steered: (B,) bool, rows whose tokens were moved; `logits` are the frozen answer of the others alone.
        keys: (B, C) standardised, and `found`, the domains; None where the engine returns no token means.
    """

    outputs: dict[str, Any]
    steered: NDArray[np.bool_]
    keys: NDArray[np.float64] | None = None
    found: Recognition | None = None

    @property
    def frozen_logits(self) -> NDArray[np.float32]:
        """(B, K), NaN in the rows that were steered: what the frozen model says of them was not asked."""
        logits: NDArray[np.float32] = self.outputs["logits"]
        if not self.steered.any():
            return logits
        known: NDArray[np.float32] = np.where(self.steered[:, None], np.float32(np.nan), logits)
        return known


def run_tracked(engine: Runs, tracker: Tracker, images: NDArray[np.float32]) -> TrackedRun:
    """Run a batch, steered for the domain of the frame before; rows that show another one are run again.

    A camera seldom changes its domain, so the second run is rare; where it would not be, nothing is steered.

    Args:
        images: (B, 3, H, W) float32.

    Raises:
        EngineError: the engine failed.
    """
    expected = tracker.expected(len(images))
    outputs, steered = _run(engine, tracker, images, expected, tracker.steers(expected))
    if tracker.block is None:
        return TrackedRun(outputs, steered)
    keys, found = tracker.recognise(outputs[TOKEN_MEANS][:, tracker.block])
    wanted = tracker.steers(found.slot)
    wrong = np.flatnonzero((found.slot != expected) & (wanted | steered))
    if len(wrong):
        again, moved = _run(engine, tracker, images[wrong], found.slot[wrong], wanted[wrong])
        outputs = {name: _with_rows(value, wrong, again[name]) for name, value in outputs.items()}
        steered[wrong] = moved
    return TrackedRun(outputs, steered, keys, found)


def _run(
    engine: Runs,
    tracker: Tracker,
    images: NDArray[np.float32],
    slots: NDArray[np.int64],
    rows: NDArray[np.bool_],
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    shift = tracker.shift(slots, rows)
    if shift is None:
        return dict(engine.run(images)), np.zeros(len(images), dtype=bool)
    return dict(engine.run(images, shift)), np.array([row.any() for row in shift], dtype=bool)


def _with_rows(values: Any, rows: NDArray[np.int64], replaced: Any) -> Any:
    """A copy, so that neither the engine's memory nor what was handed out before is written to."""
    values = values.copy() if isinstance(values, np.ndarray) else values.clone()
    values[rows.tolist()] = replaced
    return values
