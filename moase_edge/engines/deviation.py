"""How far one engine's outputs are from another's on the same frame; numpy alone, so that a device can ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.specs import TOKEN_MEANS
from moase_edge.config.precision import ParityThresholds
from moase_edge.engines.base import Tensors

TAPS = ("mid", "out")
_LOGITS = "logits"


@dataclass(frozen=True, slots=True)
class Deviation:
    """Of the outputs for one frame. A relative error is the norm of the difference over that of the reference.

    Attributes:
        cosine: of the output with the smallest one, each block's token means by themselves; -1 where a value is
            not finite.
        relative_error: of the tap with the larger one.
        logits: relative error of the frozen answer, also where it is no class.
        token_means: relative error of the block with the largest; None of an engine that cannot be steered.
        agrees: whether the frozen answer is the same; None without a head.
    """

    cosine: float
    relative_error: float
    logits: float
    token_means: float | None
    agrees: bool | None


def deviation_of(found: Tensors, expected: Tensors, *, head: bool) -> Deviation:
    """Compare the outputs of two engines for one frame.

    Args:
        found, expected: outputs by name, of a batch of one.
        head: whether `logits` are answers to agree on.
    """
    steerable = TOKEN_MEANS in expected
    agrees = bool(found[_LOGITS].argmax() == expected[_LOGITS].argmax()) if head else None
    if not all(np.isfinite(value).all() for value in found.values()):
        endless = float("inf")
        return Deviation(-1.0, endless, endless, endless if steerable else None, None if agrees is None else False)
    taps = [(found[name].ravel(), expected[name].ravel()) for name in TAPS]
    logits = (found[_LOGITS].ravel(), expected[_LOGITS].ravel())
    blocks = list(zip(found[TOKEN_MEANS][0], expected[TOKEN_MEANS][0], strict=True)) if steerable else []
    return Deviation(
        min(_cosine(*pair) for pair in (*taps, logits, *blocks)),
        max(_relative_error(*pair) for pair in taps),
        _relative_error(*logits),
        max((_relative_error(*pair) for pair in blocks), default=None),
        agrees,
    )


def failures_of(deviations: Sequence[Deviation], thresholds: ParityThresholds, *, under: str = "") -> list[str]:
    """What does not hold over all frames, each with its figure and its threshold, for people.

    Args:
        under: what the frames were run with, such as "steered", put before each failure.
    """
    cosine = min(each.cosine for each in deviations)
    failures = (
        [] if cosine >= thresholds.cosine else [f"least cosine {cosine:.4f}, at least {thresholds.cosine:g}"]
    )
    for name, found, most in _errors(deviations, thresholds):
        if not found <= most:
            failures.append(f"{name}: relative error {found:.2g}, at most {most:g}")
    differing = sum(each.agrees is False for each in deviations)
    if differing > max(1.0, (1 - thresholds.top1_agreement) * len(deviations)):
        failures.append(
            f"answers: {differing} of {len(deviations)} differ, {thresholds.top1_agreement:.0%} have to agree"
        )
    return [f"{under}, {failure}" if under else failure for failure in failures]


def _errors(deviations: Sequence[Deviation], thresholds: ParityThresholds) -> Iterator[tuple[str, float, float]]:
    """What is compared by relative error: its name, the median over frames, and the most it may be."""
    yield "taps", median_error(deviations), thresholds.relative_error
    yield "logits", median_logits(deviations), thresholds.logits
    means = median_token_means(deviations)
    if means is not None:
        yield "token means", means, thresholds.token_means


def median_error(deviations: Sequence[Deviation]) -> float:
    """Relative error of the taps, median over frames."""
    return float(np.median([each.relative_error for each in deviations]))


def median_logits(deviations: Sequence[Deviation]) -> float:
    """Relative error of the logits, median over frames."""
    return float(np.median([each.logits for each in deviations]))


def median_token_means(deviations: Sequence[Deviation]) -> float | None:
    """Relative error of the token means, median over frames; None of an engine that cannot be steered."""
    errors = [each.token_means for each in deviations if each.token_means is not None]
    return float(np.median(errors)) if errors else None


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
