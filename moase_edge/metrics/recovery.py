"""Frames until the error has settled after a shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moase_edge.errors import ConfigError
from moase_edge.metrics.domains import domain_index
from moase_edge.metrics.trace import TracePoints


@dataclass(frozen=True, slots=True)
class Recovery:
    """What followed one shift.

    Attributes:
        domain: name of the domain that began.
        begin: its first frame in the stream.
        length: its frames, up to the next shift.
        settled_error: error over its second half, in percent.
        frames: how many frames were answered before the first window that was as good, or as bad, as that;
            0 where the first window is; None where none begins in the first half: it did not settle.
    """

    domain: str
    begin: int
    length: int
    settled_error: float
    frames: int | None


def running_error(wrong: ArrayLike, window: int) -> NDArray[np.float64]:
    """Error in percent over the last `window` frames up to each one; over fewer where fewer were seen.

    Args:
        wrong: (n,) bool.
        window: in frames, at least 1.

    Returns:
        (n,) 0 .. 100.

    Raises:
        ConfigError: not one value a frame, or a window below 1.
    """
    errors = _flat(wrong, window)
    sums = np.concatenate([[0], np.cumsum(errors, dtype=np.int64)])
    ends = np.arange(1, len(errors) + 1)
    begins = np.maximum(ends - window, 0)
    result: NDArray[np.float64] = 100.0 * (sums[ends] - sums[begins]) / (ends - begins)
    return result


def running_error_trace(wrong: ArrayLike, window: int) -> TracePoints:
    """`running_error` over frame index for a plot, from the first full window on; of a shorter stream, all of it.

    Raises:
        ConfigError: as `running_error`.
    """
    errors = running_error(wrong, window)
    first = window - 1 if window <= len(errors) else 0
    return TracePoints.of(np.arange(first, len(errors)), errors[first:])


def recoveries(
    wrong: ArrayLike, domain: ArrayLike, *, domains: Sequence[str], window: int = 30, tolerance: float = 5.0
) -> tuple[Recovery, ...]:
    """Frames to recover after each shift, the stream's beginning counted as one.

    A visit is a longest run of frames of one domain, L frames long. It is settled at the error of its frames
    from L // 2 on. Window k is its frames k .. k + window - 1, none of another visit. The visit has recovered at
    the first k <= L // 2 whose window differs from the settled error by at most `tolerance`, in either
    direction, so that a method that collapses does not count as recovered while it still answers well.

    A visit shorter than two windows is left out: it has no error to settle at. In a mixed stream that is all of
    them. The error of a short window is noisy (30 frames at 50 %: standard deviation 9 points; more where frames
    repeat a picture), and noise ends a recovery early: compare methods on the same frames with the same window,
    and let it span several pictures.

    Args:
        wrong: (n,) bool.
        domain: (n,) index into `domains`.
        domains: names.
        window: in frames.
        tolerance: in percent points.

    Raises:
        ConfigError: shapes that differ, an index out of range, a window below 1, or a negative tolerance.
    """
    errors, places = _flat(wrong, window), domain_index(domain, domains)
    if places.shape != errors.shape or not tolerance >= 0:
        raise ConfigError(
            f"got errors of shape {errors.shape}, domains of shape {places.shape} and a tolerance of {tolerance}; "
            "expected one of each a frame, and a tolerance from 0 on"
        )
    begins = np.flatnonzero(np.diff(places, prepend=-1))
    found = []
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(errors)], strict=True):
        if end - begin >= 2 * window:
            settled, frames = _recover(errors[begin:end], window, tolerance)
            found.append(Recovery(domains[int(places[begin])], begin, end - begin, settled, frames))
    return tuple(found)


def typical_recovery(found: Sequence[Recovery]) -> float | None:
    """Median of the frames to recover, a visit that did not settle counting as the longest; None where the
    median itself did not settle, or nothing was measured."""
    if not found:
        return None
    frames = [math.inf if recovery.frames is None else float(recovery.frames) for recovery in found]
    median = float(np.median(frames))
    return median if math.isfinite(median) else None


def _recover(errors: NDArray[np.bool_], window: int, tolerance: float) -> tuple[float, int | None]:
    """Settled error and frames of one visit."""
    half = len(errors) // 2
    settled = 100.0 * float(np.mean(errors[half:]))
    windows = running_error(errors, window)[window - 1 :][: half + 1]
    # A hair of slack, so that a difference of exactly the tolerance counts whatever its last digit.
    near = np.flatnonzero(np.abs(windows - settled) <= tolerance + 1e-9)
    return settled, int(near[0]) if len(near) else None


def _flat(wrong: ArrayLike, window: int) -> NDArray[np.bool_]:
    errors = np.asarray(wrong, dtype=bool)
    if errors.ndim != 1 or window < 1:
        raise ConfigError(
            f"got errors of shape {errors.shape} and a window of {window}; "
            "expected one value a frame, and a window of at least 1"
        )
    return errors
