"""The answer to one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.frames.frame import Frame


@dataclass(frozen=True, slots=True)
class Result:
    """What the pipeline says of one frame, emitted before anything is learned from it.

    Attributes:
        frame: the frame itself.
        logits: (K,) float32, the answer; the pooled features for a backbone without a head.
        frozen_logits: (K,) float32, the frozen model's answer, where the method has one.
        adapted: whether `logits` come from the adapted sidecar.
        prediction: class index with the largest logit; None without a head, or where no logit is finite.
        label: its name, or None where the artifact names none.
        confidence: its softmax probability, 0..1.
        entropy: of the softmax, in nats.
        frozen_prediction: class index of the frozen answer.
        timings_ms: duration of each stage so far, of the whole batch.
        age_ms: from the frame's arrival in this process to this answer.
    """

    frame: Frame
    logits: NDArray[np.float32]
    frozen_logits: NDArray[np.float32] | None
    adapted: bool
    prediction: int | None
    label: str | None
    confidence: float | None
    entropy: float | None
    frozen_prediction: int | None
    timings_ms: dict[str, float]
    age_ms: float

    def as_record(self) -> dict[str, Any]:
        """Plain data of the answer, for JSON; without pictures and logits."""
        frame = self.frame
        return {
            "frame": frame.index,
            "name": frame.name,
            "domain": frame.domain,
            "truth": frame.label,
            "prediction": self.prediction,
            "label": self.label,
            "confidence": self.confidence,
            "entropy": self.entropy,
            "frozen_prediction": self.frozen_prediction,
            "adapted": self.adapted,
            "age_ms": self.age_ms,
        }
