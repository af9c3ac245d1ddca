"""The frozen model as a method: the engine's own logits, no PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.base import Engine
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages


class FrozenMethod:
    """Answers with the engine's `logits` and never learns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = "frozen"
        self.failures: dict[str, int] = {}
        self.rollbacks = 0

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> the frozen answer."""
        with stages.timed("engine"):
            logits = self._engine.run(images)["logits"]
        return Prediction(logits, logits, np.zeros(len(logits), dtype=bool))

    def learn(self, prediction: Prediction) -> Update | None:  # noqa: ARG002 - part of the protocol
        """Nothing is learned."""
        return None

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
