"""What an int8 graph loses against the float one: answers, accuracy, features."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.calib.products import feeds, open_session
from moase_edge.engines.base import Tensors
from moase_edge.engines.deviation import agreement_of, deviation_of, median_error
from moase_edge.errors import CalibrationError

logger = logging.getLogger(__name__)

_ABOVE_CHANCE = 0.1


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Of a graph, on frames that took no part in its ranges.

    Attributes:
        frames: compared.
        agreement: share with the same answer as the float graph; None without a head.
        accuracy, source_accuracy: share answered right, by this graph and by the float one; None without labels.
        feature_error: relative error of the taps, median over frames.
    """

    frames: int
    agreement: float | None
    accuracy: float | None
    source_accuracy: float | None
    feature_error: float

    @property
    def drop(self) -> float:
        """Points lost: of accuracy, without labels of agreement, without a head percent of feature error."""
        if self.accuracy is not None and self.source_accuracy is not None:
            return 100 * (self.source_accuracy - self.accuracy)
        return 100 * (self.feature_error if self.agreement is None else 1 - self.agreement)


def run_graph(model: Any, frames: Sequence[NDArray[np.float32]]) -> list[Tensors]:
    """Outputs by name for each frame (1, 3, H, W), a shift fed as zeros.

    Args:
        model: an ONNX model.

    Raises:
        CalibrationError: ONNX Runtime refuses the graph or a frame.
    """
    session = open_session(model)
    names = [output.name for output in session.get_outputs()]
    try:
        return [dict(zip(names, session.run(names, feeds(session, frame)), strict=True)) for frame in frames]
    except Exception as exc:  # ONNX Runtime raises many unrelated types
        raise CalibrationError(f"the graph failed on a calibration frame: {exc}") from exc


def fidelity_of(
    found: Sequence[Tensors], expected: Sequence[Tensors], *, head: bool, labels: Sequence[int] | None = None
) -> Fidelity:
    """Compare outputs of a graph and of the float one for the same frames.

    Args:
        head: whether `logits` are answers.
        labels: class of each frame; None without.
    """
    deviations = [deviation_of(*pair, head=head) for pair in zip(found, expected, strict=True)]
    right = [None if labels is None or not head else accuracy_of(outputs, labels) for outputs in (found, expected)]
    return Fidelity(len(found), agreement_of(deviations), right[0], right[1], median_error(deviations))


def accuracy_of(outputs: Sequence[Mapping[str, NDArray[np.float32]]], labels: Sequence[int]) -> float:
    """Share of frames whose largest logit is that of their label."""
    pairs = zip(outputs, labels, strict=True)
    return float(np.mean([int(output["logits"].argmax()) == label for output, label in pairs]))


def fitting_labels(outputs: Sequence[Tensors], labels: Sequence[int]) -> Sequence[int] | None:
    """The labels; None, with a warning, where the float graph is near chance on them: they tell nothing of a loss.

    Args:
        outputs: of the float graph, for each frame.
        labels: class of each frame.
    """
    accuracy, classes = accuracy_of(outputs, labels), outputs[0]["logits"].shape[-1]
    if not near_chance(accuracy, classes, len(labels)):
        return labels
    logger.warning(
        "the float engine answers %.1f%% of %d labelled frames right, and chance is %.1f%%: the labels may be "
        "numbered otherwise than the model's classes. Answers are compared with the float engine's instead",
        100 * accuracy,
        len(labels),
        100 / classes,
    )
    return None


def near_chance(accuracy: float, classes: int, frames: int) -> bool:
    """Whether it is at most 10 points above chance, or on few frames two standard errors of it."""
    chance = 1 / classes
    return accuracy <= chance + max(_ABOVE_CHANCE, 2 * math.sqrt(chance * (1 - chance) / frames))
