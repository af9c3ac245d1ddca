"""One batch through an engine that a tracker steers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.domains import Recognition
from moase_edge.adapt.tracker import Tracker
from moase_edge.artifact.specs import TOKEN_MEANS
from moase_edge.engines.base import Engine


@dataclass(frozen=True, slots=True, eq=False)
class TrackedRun:
    """What the engine returned, and how it was steered.

    Attributes:
        outputs: by name; rows that were run again hold what that gave.
        steered: (B,) bool, rows whose tokens were moved; `logits` are the frozen answer of the others alone.
        keys: (B, C) standardised, and `found`, the domains; None where the engine returns no token means.
    """

    outputs: dict[str, NDArray[np.float32]]
    steered: NDArray[np.bool_]
    keys: NDArray[np.float64] | None = None
    found: Recognition | None = None

    @property
    def frozen_logits(self) -> NDArray[np.float32]:
        """(B, K), NaN in the rows that were steered: what the frozen model says of them was not asked."""
        logits = self.outputs["logits"]
        if not self.steered.any():
            return logits
        known: NDArray[np.float32] = np.where(self.steered[:, None], np.float32(np.nan), logits)
        return known


def run_tracked(engine: Engine, tracker: Tracker, images: NDArray[np.float32]) -> TrackedRun:
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
    engine: Engine,
    tracker: Tracker,
    images: NDArray[np.float32],
    slots: NDArray[np.int64],
    rows: NDArray[np.bool_],
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    shift = tracker.shift(slots, rows)
    if shift is None:
        return dict(engine.run(images)), np.zeros(len(images), dtype=bool)
    return dict(engine.run(images, shift)), np.array([row.any() for row in shift], dtype=bool)


def _with_rows(
    values: NDArray[np.float32], rows: NDArray[np.int64], replaced: NDArray[np.float32]
) -> NDArray[np.float32]:
    values = values.copy()
    values[rows] = replaced
    return values
