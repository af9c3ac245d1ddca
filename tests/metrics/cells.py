"""Records with known errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from moase_edge.metrics.cell import CellRecord


def cell(wrong: list[bool], **changes: Any) -> CellRecord:
    """A record whose answers are wrong as told: two domains in equal parts, a picture a frame."""
    frames = len(wrong)
    fields: dict[str, Any] = {
        "prediction": np.array(wrong, dtype=np.int64),
        "frozen_prediction": None,
        "confidence": np.full(frames, 0.5, dtype=np.float32),
        "label": np.zeros(frames, dtype=np.int64),
        "domain": np.arange(frames, dtype=np.int64) * 2 // max(frames, 1),
        "domains": ("fog", "snow"),
        "picture": np.arange(frames, dtype=np.int64),
        "adapted": np.ones(frames, dtype=bool),
        "updated": np.ones(frames, dtype=bool),
        "rolled_back": np.zeros(frames, dtype=bool),
        "failed": np.zeros(frames, dtype=bool),
    }
    return CellRecord(**{**fields, **changes})
