"""What adaptation cost on the source domain."""

from __future__ import annotations

from numpy.typing import ArrayLike

from moase_edge.metrics.classification import top1_error


def forgetting(predictions: ArrayLike, source_predictions: ArrayLike, labels: ArrayLike) -> float:
    """Error on clean data after adaptation, minus the source model's error on the same clean data.

    Args:
        predictions: (n,) class indices, answered by the adapted weights without learning from these frames.
        source_predictions: (n,) class indices of the source model on the same frames.
        labels: (n,) class indices.

    Returns:
        Percent points, -100 .. 100; positive: something was forgotten. `paired_difference` gives its interval.

    Raises:
        ConfigError: shapes that differ, or no frames.
    """
    return top1_error(predictions, labels) - top1_error(source_predictions, labels)
