"""Trackers of small numbers, for the tests of this folder: source keys and features are around 0, of spread 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.content import ContentState
from moase_edge.adapt.domain import BankState
from moase_edge.adapt.domains import DomainBank
from moase_edge.adapt.tracker import Pooled, RunAgain, Seen, Tracker, TrackerState

C, BLOCKS, BLOCK = 4, (3, 4), 1
BANK = {"most_domains", "near", "spread", "decide", "half_life", "caution", "source_frames"}
# Contents around 0 of which none resembles the one before, the first after the last included, so that each is new.
NEW = 6.0 * np.array([[1, 1, -1, -1], [-1, -1, 1, 1], [1, -1, 1, -1], [-1, 1, -1, 1]])

SOURCE_KEY, KEY = np.zeros((1, C)), np.full((1, C), 3.0)
PLAIN: dict[str, Any] = {"caution": 0.0, "remember": False}

Rows = NDArray[np.float64]


def head(pooled: NDArray[np.floating]) -> NDArray[np.floating]:
    """Two classes, +- the first channel: the larger the numbers, the surer."""
    first = pooled[:, 0, 0]
    return np.stack([first, -first], axis=1)


def tracker_of(*, steerable: bool = True, **options: Any) -> Tracker:
    """A tracker of a steerable engine with three blocks, or of another one that looks at features alone."""
    bank = {"source_frames": 1000, **{name: options.pop(name) for name in BANK & options.keys()}}
    zero, one = np.zeros(C), np.ones(C)
    return Tracker(
        DomainBank(zero, one, zero, one, recognise_by_key=steerable, **bank),
        head,
        blocks=BLOCKS if steerable else None,
        block=BLOCK if steerable else None,
        **options,
    )


def correct(
    tracker: Tracker, keys: Any, features: Any, *, steered: Sequence[bool] | None = None
) -> tuple[Rows, Seen]:
    """Answer a batch of keys (B, C) and features (B, C), one head; returns the corrected features (B, C)."""
    raw, pooled = (np.asarray(values, dtype=np.float32) for values in (keys, features))
    standardised, found = tracker.recognise(raw)
    rows = np.zeros(len(raw), dtype=bool) if steered is None else np.array(steered)
    corrected, seen = tracker.correct(pooled[:, None], standardised, found, rows)
    return np.asarray(corrected[:, 0]), seen


def same_again(seen: Seen) -> RunAgain:
    """An engine that returns the same whatever is shifted."""
    return lambda rows, shift: seen.pooled[rows]


def show(tracker: Tracker, keys: Any, features: Any, *, steered: Sequence[bool] | None = None) -> dict[str, float]:
    """Answer a batch and learn from it; a second run gives the same as the first."""
    _, seen = correct(tracker, keys, features, steered=steered)
    return tracker.learn(seen, same_again(seen))


def know(tracker: Tracker, level: float = 3.0, offset: float = 2.0, frames: int = 4) -> None:
    """Show frames one by one of a domain with keys at `level` and features around `offset`, all of new content."""
    for index in range(frames):
        show(tracker, np.full((1, C), level), offset + NEW[[index % C]])


class Runs:
    """A second run whose features are the first ones', scaled; remembers what it was asked for."""

    def __init__(self, seen: Seen, scale: float = 1.0) -> None:
        self.asked: list[tuple[list[int], NDArray[np.float32] | None]] = []
        self._seen, self._scale = seen, scale

    def __call__(self, rows: NDArray[np.int64], shift: NDArray[np.float32] | None) -> Pooled:
        self.asked.append((rows.tolist(), shift))
        return np.float32(self._scale) * self._seen.pooled[rows]


def values_of(state: BankState | ContentState | None) -> Any:
    """Everything in a state, arrays as their bytes."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tobytes()
        return tuple(map(plain, value)) if isinstance(value, tuple | list) else value

    return None if state is None else plain(astuple(state))


def flat(state: TrackerState) -> list[Any]:
    """Everything in a state, arrays as their bytes."""
    trials = {
        number: [[row.tobytes() for row in rows] for rows in (trial.plain, trial.steered)]
        + [[trial.steers, trial.since]]
        for number, trial in state.trials.items()
    }
    return [values_of(state.bank), values_of(state.content), trials, state.latest, state.restlessness]


def assert_same(found: TrackerState, expected: TrackerState) -> None:
    """Bit for bit."""
    assert flat(found) == flat(expected)
