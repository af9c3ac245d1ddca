"""Top-1 error, whole and by domain, in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moase_edge.errors import ConfigError


def top1_error(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Share of predictions that differ from their label.

    Args:
        predictions: (n,) class indices.
        labels: (n,) class indices.

    Returns:
        Percent, 0 .. 100.

    Raises:
        ConfigError: the two differ in shape, are not one-dimensional, or are empty.
    """
    predicted, expected = np.asarray(predictions), np.asarray(labels)
    if predicted.shape != expected.shape or predicted.ndim != 1 or predicted.size == 0:
        raise ConfigError(
            f"got predictions of shape {predicted.shape} and labels of shape {expected.shape}; "
            "expected one class index a frame in each, and at least one frame"
        )
    return 100.0 * float(np.mean(predicted != expected))


def error_by_domain(predictions: Sequence[int], labels: Sequence[int], domains: Sequence[str]) -> dict[str, float]:
    """Top-1 error in percent of each domain, in the order in which the domains first appear.

    Args:
        predictions: n class indices.
        labels: n class indices.
        domains: n names of the shift that the frame shows.

    Raises:
        ConfigError: the three differ in length.
    """
    if not len(predictions) == len(labels) == len(domains):
        raise ConfigError(
            f"got {len(predictions)} predictions, {len(labels)} labels and {len(domains)} domains; "
            "expected one of each a frame"
        )
    counter = ErrorCounter()
    for prediction, label, domain in zip(predictions, labels, domains, strict=True):
        counter.add(prediction=prediction, label=label, domain=domain)
    return counter.by_domain()


@dataclass(slots=True)
class _Tally:
    frames: int = 0
    wrong: int = 0

    def add(self, wrong: bool) -> None:
        self.frames += 1
        self.wrong += wrong

    @property
    def error(self) -> float:
        return 100.0 * self.wrong / self.frames if self.frames else math.nan


class ErrorCounter:
    """Top-1 error of a stream, counted frame by frame; memory grows with the domains only.

    A domain that returns later continues its own count: give it another name to see the visits apart.
    """

    def __init__(self) -> None:
        self._all = _Tally()
        self._domains: dict[str, _Tally] = {}

    @property
    def frames(self) -> int:
        """How many labelled frames were counted."""
        return self._all.frames

    def add(self, *, prediction: int, label: int, domain: str | None = None) -> None:
        """Count one frame; a frame without a domain counts in `overall` only."""
        wrong = bool(prediction != label)
        self._all.add(wrong)
        if domain is not None:
            self._domains.setdefault(domain, _Tally()).add(wrong)

    def by_domain(self) -> dict[str, float]:
        """Error in percent of each domain, in first-seen order."""
        return {domain: tally.error for domain, tally in self._domains.items()}

    def mean_over_domains(self) -> float:
        """Mean of the domains' errors in percent, each domain counting once; NaN without domains."""
        errors = list(self.by_domain().values())
        return math.fsum(errors) / len(errors) if errors else math.nan

    def overall(self) -> float:
        """Error in percent over all frames, each frame counting once; NaN without frames."""
        return self._all.error
