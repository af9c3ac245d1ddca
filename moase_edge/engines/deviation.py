"""How far one engine's outputs are from another's on the same frame; numpy alone, so that a device can ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.config.precision import ParityThresholds
from moase_edge.engines.base import Tensors

TAPS = ("mid", "out")


@dataclass(frozen=True, slots=True)
class Deviation:
    """Of the outputs for one frame.

    Attributes:
        cosine: of the tap with the smaller one; -1 where a value is not finite.
        relative_error: norm of the difference over that of the reference, of the tap with the larger one.
        agrees: whether the frozen answer is the same; None without a head.
    """

    cosine: float
    relative_error: float
    agrees: bool | None


def deviation_of(found: Tensors, expected: Tensors, *, head: bool) -> Deviation:
    """Compare the outputs of two engines for one frame.

    Args:
        found, expected: outputs by name, of a batch of one.
        head: whether `logits` are answers to agree on.
    """
    pairs = [(found[name].ravel(), expected[name].ravel()) for name in TAPS]
    agrees = bool(found["logits"].argmax() == expected["logits"].argmax()) if head else None
    if not all(np.isfinite(value).all() for value in found.values()):
        return Deviation(-1.0, float("inf"), None if agrees is None else False)
    return Deviation(min(_cosine(*pair) for pair in pairs), max(_relative_error(*pair) for pair in pairs), agrees)


def failures_of(deviations: Sequence[Deviation], thresholds: ParityThresholds) -> list[str]:
    """What does not hold over all frames, each with its figure and its threshold, for people."""
    cosine, error = min(each.cosine for each in deviations), median_error(deviations)
    failures = []
    if not cosine >= thresholds.cosine:
        failures.append(f"taps: cosine {cosine:.4f}, at least {thresholds.cosine:g}")
    if not error <= thresholds.relative_error:
        failures.append(f"taps: relative error {error:.2g}, at most {thresholds.relative_error:g}")
    differing = sum(each.agrees is False for each in deviations)
    if differing > max(1.0, (1 - thresholds.top1_agreement) * len(deviations)):
        failures.append(
            f"answers: {differing} of {len(deviations)} differ, {thresholds.top1_agreement:.0%} have to agree"
        )
    return failures


def median_error(deviations: Sequence[Deviation]) -> float:
    """Relative error of the taps, median over frames."""
    return float(np.median([each.relative_error for each in deviations]))


def agreement_of(deviations: Sequence[Deviation]) -> float | None:
    """Share of frames with the same frozen answer; None without a head."""
    agrees = [each.agrees for each in deviations if each.agrees is not None]
    return float(np.mean(agrees)) if agrees else None


def _cosine(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    a, b = found.astype(np.float64), expected.astype(np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(not (a.any() or b.any()))


def _relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    reference = expected.astype(np.float64)
    return float(np.linalg.norm(found.astype(np.float64) - reference) / (np.linalg.norm(reference) or 1.0))
