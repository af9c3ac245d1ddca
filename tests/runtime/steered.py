"""An engine that can be steered and a tracker, whose every number a test can foresee."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.domain import Recognition
from moase_edge.adapt.steering import Pooled

BLOCKS, CHANNELS, BLOCK = 3, 2, 1
STEERED_BY = 10.0

Images = NDArray[np.float32]


def images(*domains: int) -> Images:
    """Frames whose first pixel is the domain that they show; of another size than anything else here."""
    batch = np.zeros((len(domains), 3, 2, 2), dtype=np.float32)
    batch[:, 0, 0, 0] = domains
    return batch


@dataclass
class SteerableEngine:
    """Answers with the domain that a frame shows, plus what it is steered by; remembers what it was given."""

    token_means: bool = True
    runs: list[tuple[list[float], list[float] | None]] = field(default_factory=list)
    name: str = "steerable"

    def run(self, batch: Images, shift: Images | None = None) -> dict[str, Images]:
        shows = batch[:, 0, 0, 0]
        moved = np.zeros(len(batch), dtype=np.float32) if shift is None else shift[:, BLOCK, 0]
        self.runs.append((shows.tolist(), None if shift is None else moved.tolist()))
        logits = np.stack([shows, shows + moved], axis=1)
        outputs = {"mid": logits[:, None], "out": logits[:, None], "logits": logits}
        # What enters the block is told before it is moved.
        means = np.broadcast_to(shows[:, None, None], (len(batch), BLOCKS, CHANNELS)).copy()
        return outputs | ({"token_means": means} if self.token_means else {})

    def close(self) -> None:
        """Nothing to release."""


@dataclass
class KnownTracker:
    """Recognises a frame's domain by its token means; steers those that it is told to."""

    latest: int
    steered: frozenset[int] = frozenset({1, 2})
    restless: bool = False
    block: int | None = BLOCK
    recognised: list[list[float]] = field(default_factory=list)

    def expected(self, batch: int) -> NDArray[np.int64]:
        return np.full(batch, 0 if self.restless else self.latest, dtype=np.int64)

    def steers(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([not self.restless and int(slot) in self.steered for slot in slots], dtype=bool)

    def shift(self, slots: NDArray[np.int64], rows: NDArray[np.bool_]) -> Images | None:
        if not rows.any():
            return None
        shift = np.zeros((len(slots), BLOCKS, CHANNELS), dtype=np.float32)
        shift[:, BLOCK] = (STEERED_BY * slots * rows)[:, None]
        return shift

    def recognise(self, raw: Pooled) -> tuple[NDArray[np.float64], Recognition]:
        self.recognised.append(raw[:, 0].tolist())
        return raw.astype(np.float64), Recognition(raw[:, 0].astype(np.int64), np.ones(len(raw)))

    def snapshot(self) -> int:
        return self.latest

    def restore(self, state: int) -> None:
        self.latest = state

    def start_run(self) -> None:
        self.latest = 0

    def counts(self) -> dict[str, int]:
        return {"domains_found": 2}
