"""From a method's answer to a batch to one result a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter_ns, time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moase_edge.frames.frame import Frame
from moase_edge.metrics.uncertainty import Floats, entropy, softmax
from moase_edge.runtime.method import Prediction
from moase_edge.runtime.result import Result
from moase_edge.runtime.stages import Stages


def results_of(
    batch: Sequence[Frame],
    prediction: Prediction,
    stages: Stages,
    *,
    labels: Sequence[str] | None,
    has_head: bool,
) -> list[Result]:
    """One result a frame, in order.

    Args:
        batch: the frames that were answered.
        stages: what the batch has cost so far.
        labels: names of the classes.
        has_head: whether answers are logits; else they are features, and none of them is a class.
    """
    logits = _read_only(prediction.logits)
    frozen = _frozen_rows(prediction)
    probabilities = softmax(logits)
    entropies = entropy(probabilities)
    now, now_s = perf_counter_ns(), time()
    results = []
    for row, (frame, frozen_row) in enumerate(zip(batch, frozen, strict=True)):
        answer = _answer(logits[row], probabilities[row], entropies[row], labels) if has_head else _Answer()
        age_ms = (now - frame.captured_ns) / 1e6
        results.append(
            Result(
                frame=frame,
                logits=logits[row],
                frozen_logits=frozen_row,
                adapted=bool(prediction.adapted[row]),
                **answer._asdict(),
                frozen_prediction=None if frozen_row is None or not has_head else _top(frozen_row),
                timings_ms=dict(stages.durations_ms),
                age_ms=age_ms,
                timestamp_s=now_s - age_ms / 1e3,
            )
        )
    return results


class _Answer(NamedTuple):
    """The fields of a result that are read from its logits; None where they name no class."""

    prediction: int | None = None
    label: str | None = None
    confidence: float | None = None
    entropy: float | None = None


def _answer(logits: Floats, probabilities: Floats, entropy: float, labels: Sequence[str] | None) -> _Answer:
    """What (K,) logits and their softmax say; `entropy` is the softmax's."""
    top = _top(logits)
    if top is None:
        return _Answer()
    return _Answer(top, labels[top] if labels else None, _finite(probabilities[top]), _finite(entropy))


def _read_only(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same memory, which whoever is handed a result cannot change: it is learned from afterwards."""
    view: NDArray[np.float32] = logits.view()
    view.flags.writeable = False
    return view


def _frozen_rows(prediction: Prediction) -> list[NDArray[np.float32] | None]:
    """The frozen answer to each frame, None where it is not known."""
    if prediction.frozen_logits is None:
        return [None] * len(prediction.logits)
    rows = zip(_read_only(prediction.frozen_logits), prediction.frozen_known, strict=True)
    return [logits if known else None for logits, known in rows]


def _top(logits: Floats) -> int | None:
    """Index of the largest finite logit, None where there is none."""
    finite = np.isfinite(logits)
    return int(np.argmax(np.where(finite, logits, -np.inf))) if finite.any() else None


def _finite(value: float) -> float | None:
    """A plain number, None where it is none: beside an infinite logit there is no probability."""
    return float(value) if math.isfinite(value) else None
