"""What the pipeline drives: anything that answers a batch and may learn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from moase_edge.runtime.stages import Stages

# Named figures of one update, such as loss or distance, for the journal and the plots.
Update = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to a batch.

    Attributes:
        logits: (B, K) float32, what is answered.
        frozen_logits: (B, K) float32, what the frozen model says; None for a method that has none.
        adapted: (B,) bool, whether `logits` come from adapted weights or are the frozen answer.
        memory: what the method needs to learn from this batch; None where it cannot.
    """

    logits: NDArray[np.float32]
    frozen_logits: NDArray[np.float32] | None
    adapted: NDArray[np.bool_]
    memory: object | None = None


class Method(Protocol):
    """A way to answer frames and to learn from them.

    Attributes:
        name: for reports.
        failures: how often learning or an adapted answer failed, by reason; the run goes on frozen.
        rollbacks: how often all that was learned was set back to an earlier state.
    """

    name: str
    failures: dict[str, int]
    rollbacks: int

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """Answer a batch (B, 3, H, W) float32; times its own stages."""
        ...

    def learn(self, prediction: Prediction) -> Update | None:
        """Learn from a batch that was answered; None where nothing was learned."""
        ...

    def close(self) -> None:
        """Release engine and weights."""
        ...
