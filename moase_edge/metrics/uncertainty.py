"""Softmax and entropy in numpy, for the paths that run without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]


def softmax(logits: ArrayLike) -> Floats:
    """Probabilities over the last axis; the largest logit is subtracted first, so none overflows.

    Args:
        logits: (..., K). float32 stays float32; every other type is computed in float64.

    Returns:
        (..., K), new, each row summing to 1; a row with NaN or +inf, or of -inf only, becomes NaN.
    """
    values = _floats(logits)
    with np.errstate(invalid="ignore", over="ignore"):
        weights = np.exp(values - values.max(axis=-1, keepdims=True))
    probabilities: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


def entropy(probabilities: ArrayLike) -> Floats:
    """Shannon entropy of each row in nats, with 0 log 0 = 0.

    Args:
        probabilities: (..., K), each row summing to 1. float32 stays float32; others become float64.

    Returns:
        (...), 0 .. log K; NaN for a row with NaN or a negative value.
    """
    values = _floats(probabilities)
    logs = np.zeros_like(values)
    with np.errstate(invalid="ignore"):
        np.log(values, out=logs, where=values != 0)
    # 0 - x rather than -x: a certain row gives 0, not -0.
    nats: Floats = np.asarray(0 - (values * logs).sum(axis=-1))
    return nats


def _floats(values: ArrayLike) -> Floats:
    array = np.asarray(values)
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)
