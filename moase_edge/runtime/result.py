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
        logits: (K,) float32, read-only, the answer; the pooled features for a backbone without a head.
        frozen_logits: (K,) float32, read-only, the frozen model's answer; None where it is not known: the method
            has none, or the engine was steered for this frame, and the frozen model not asked.
        adapted: whether `logits` come from the adapted sidecar.
        prediction: class index with the largest logit; None without a head, or where no logit is finite.
        label: its name, or None where the artifact names none.
        confidence: its softmax probability, 0..1; None where a logit is not finite.
        entropy: of the softmax, in nats; None where a logit is not finite.
        frozen_prediction: class index of the frozen answer; None as above, or as for `prediction`.
        timings_ms: duration of each stage so far, of the whole batch.
        age_ms: from the moment at which the frame was there (`Frame.captured_ns`) to this answer.
        timestamp_s: Unix time of that moment, by the system's clock.
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
    timestamp_s: float

    @property
    def unanswered(self) -> bool:
        """Whether no logit is finite, so that there is no answer."""
        return not bool(np.isfinite(self.logits).any())

    def as_record(self) -> dict[str, Any]:
        """Plain data of the answer, for JSON; without pictures and logits."""
        frame = self.frame
        return {
            "frame": frame.index,
            "timestamp_s": self.timestamp_s,
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
