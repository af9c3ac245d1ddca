"""Has the domain shifted? Told from the features of a stream, without labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Of the spread that was measured before an alarm, so many frames' weight stays: the new domain has its own.
_KEPT_FRAMES = 10
# Neighbouring frames may show the same thing: products are taken with one that is so many to twice as many back.
_APART = 10
_TINY = 1e-12


class Drift(NamedTuple):
    """What one frame with new content says.

    Attributes:
        score: how far the fast mean lies from the slow one, in standard deviations of an unchanged stream.
        shifted: whether an alarm was raised within the last `hold` frames, this one included.
    """

    score: float
    shifted: bool


@dataclass(frozen=True, slots=True, eq=False)
class DriftState:
    """All that a detector remembers. Its arrays are never written to, so that a snapshot costs nothing.

    Attributes:
        fast, slow: running means (C,).
        fast_variance, slow_variance, covariance: of the two means, in units of one frame's variance.
        slow_frames: frames that the slow mean stands for.
        variance: of a frame around its mean (C,), running; used where the source's spread is not known.
        energy: mean squared standardised deviation of a frame, running; 1 where it spreads as the source does.
        overlap: mean squared product of the deviations of two distant frames over C^2, running.
        earlier, later: standardised deviations (C,) of the frame that the product is taken with, and of the next.
        measured: frames that variance, energy and overlap stand for.
        above: frames in a row above the threshold.
        left: frames for which `shifted` stays true.
        score: the latest.
    """

    fast: Vector
    slow: Vector
    fast_variance: float
    slow_variance: float
    covariance: float
    slow_frames: float
    variance: Vector
    energy: float
    overlap: float
    earlier: Vector
    later: Vector
    measured: int
    above: int
    left: int
    score: float


class DriftDetector:
    """Compares a fast with a slow running mean of the features of frames with new content.

    Under no change the two differ by `sum_i c_i x_i` with weights that sum to 0, whose variance `v` is tracked
    exactly (0.039 of a frame's variance at the default momenta, 0 at the start). So `q = mean_C z^2`, with z the
    difference over `spread sqrt(v)`, has mean 1, and on Gaussian features it is close to a chi-square over its
    degrees of freedom d. Channels are correlated, so d is not C but `C^2 / tr(R^2)`, measured by the mean squared
    product of distant frames. The cube root of q is then nearly Gaussian (Wilson and Hilferty 1931), which
    gives a score of mean 0 and spread 1 whatever C, d and the momenta are.

    The source's spread weighs the channels; how widely the stream spreads as a whole is measured, since noise
    narrows features and would otherwise hide a shift or pass for one.

    The score of unchanged, independent Gaussian features lies above the default threshold of 5 in 3 frames of 1e7.
    With d = 50 a shift of 0.23 spreads in every channel reaches it, and one of 0.5 does after 8 frames: an alarm
    after 10, for the patience of 3, with which a passing peak is not taken for a shift. A drift is found from
    0.003 spreads a frame. With d = 12 it takes a shift of 0.38. Frames that resemble each other break the theory:
    count those with new content, and expect an alarm where a stream that showed one class for dozens turns to
    another.

    `shifted` stays true for `hold` frames from an alarm, five times the memory of the fast mean: the time in which
    updates learn something new. The slow mean then starts again from the fast one.

    Args:
        source_std: spread of each feature over source images (C,); a channel of spread 0 is ignored. None measures
            it on the stream.
        fast, slow, threshold, patience, warm_up, hold: see `DriftSettings`.
    """

    def __init__(
        self,
        source_std: NDArray[np.floating] | None = None,
        *,
        fast: float = 0.9,
        slow: float = 0.99,
        threshold: float = 5.0,
        patience: int = 3,
        warm_up: int = 50,
        hold: int = 50,
    ) -> None:
        self._scale = None if source_std is None else _inverse(source_std.astype(np.float64))
        self._fast = fast
        self._slow = slow
        self._threshold = threshold
        self._patience = patience
        self._warm_up = warm_up
        self._hold = hold
        self._state: DriftState | None = None

    def update(self, features: NDArray[np.floating]) -> Drift:
        """Count one frame with new content.

        Args:
            features: (C,), before anything that is learned is applied to them, or learning itself would look like
                a shift. Those that are not finite are passed over.

        Raises:
            ValueError: another number of channels than before, or than the source's.
        """
        x = features.astype(np.float64)
        self._check(x)
        if not np.isfinite(x).all():
            return self._drift()
        self._state = _first(x) if self._state is None else self._judged(self._moved(self._state, x))
        return self._drift()

    def snapshot(self) -> DriftState | None:
        """All that was learned of the stream; None before the first frame."""
        return self._state

    def restore(self, state: DriftState | None) -> None:
        """Go back to a snapshot, bit for bit."""
        self._state = state

    def reset(self) -> None:
        """Forget the stream."""
        self._state = None

    def _check(self, x: Vector) -> None:
        known = self._scale if self._state is None else self._state.fast
        if x.ndim != 1 or (known is not None and x.shape != known.shape):
            expected = "(C,)" if known is None else known.shape
            raise ValueError(f"features must be of shape {expected}; got {x.shape}")

    def _drift(self) -> Drift:
        state = self._state
        return Drift(0.0, False) if state is None else Drift(state.score, state.left > 0)

    def _moved(self, state: DriftState, x: Vector) -> DriftState:
        """Spread and means after one more frame (C,)."""
        state = self._measured(state, x)
        seen = 1 / (state.slow_frames + 1)  # a plain mean, until it stands for more frames than a running one
        fast, slow = max(1 - self._fast, seen), max(1 - self._slow, seen)
        return replace(
            state,
            fast=state.fast + fast * (x - state.fast),
            slow=state.slow + slow * (x - state.slow),
            fast_variance=(1 - fast) ** 2 * state.fast_variance + fast**2,
            slow_variance=(1 - slow) ** 2 * state.slow_variance + slow**2,
            covariance=(1 - fast) * (1 - slow) * state.covariance + fast * slow,
            slow_frames=state.slow_frames + 1,
        )

    def _measured(self, state: DriftState, x: Vector) -> DriftState:
        """Spread after one more frame (C,): around the slow mean, or, while that is out of date, the fast one."""
        fast = state.left > 0
        mean, widened = (state.fast, state.fast_variance) if fast else (state.slow, state.slow_variance)
        deviation = (x - mean) / np.sqrt(1 + widened)
        gain = max(1 - self._slow, 1 / (state.measured + 1))
        variance = state.variance + gain * (deviation**2 - state.variance)
        standardised = deviation * self._weights(variance)
        overlap = (standardised @ state.earlier / len(x)) ** 2
        turn = state.slow_frames % _APART < 1
        return replace(
            state,
            variance=variance,
            energy=state.energy + gain * (float(standardised @ standardised) / len(x) - state.energy),
            overlap=state.overlap + gain * (float(overlap) - state.overlap),
            earlier=state.later if turn else state.earlier,
            later=standardised if turn else state.later,
            measured=state.measured + 1,
        )

    def _weights(self, variance: Vector) -> Vector:
        return self._scale if self._scale is not None else _inverse(np.sqrt(variance))

    def _judged(self, state: DriftState) -> DriftState:
        """Score, and what follows from it."""
        score = self._score(state) if state.measured >= _KEPT_FRAMES else 0.0
        if state.left:
            return _waited(replace(state, score=score))
        above = state.above + 1 if score > self._threshold and state.measured >= self._warm_up else 0
        if above < self._patience:
            return replace(state, score=score, above=above)
        return replace(state, score=score, above=0, left=self._hold, measured=min(state.measured, _KEPT_FRAMES))

    def _score(self, state: DriftState) -> float:
        expected = state.fast_variance + state.slow_variance - 2 * state.covariance
        if expected < _TINY:  # both means are the same
            return 0.0
        z = (state.fast - state.slow) * self._weights(state.variance)
        q = float(z @ z) / len(z) / (expected * max(self._level(state), _TINY))
        freedom = min(max(state.energy**2 / max(state.overlap, _TINY), 1.0), float(len(z)))
        variance = 2 / (9 * freedom)
        return float((np.cbrt(q) - (1 - variance)) / np.sqrt(variance))

    def _level(self, state: DriftState) -> float:
        """Mean of z^2 under no change: the stream's energy, or by how much a measured spread overstates it."""
        if self._scale is not None:
            return state.energy
        freedom = max(min(state.measured - 1, (1 + self._slow) / (1 - self._slow)), 3.0)
        return freedom / (freedom - 2)


def _first(x: Vector) -> DriftState:
    zeros = np.zeros_like(x)
    return DriftState(
        fast=x,
        slow=x,
        fast_variance=1.0,
        slow_variance=1.0,
        covariance=1.0,
        slow_frames=1.0,
        variance=zeros,
        energy=0.0,
        overlap=0.0,
        earlier=zeros,
        later=zeros,
        measured=0,
        above=0,
        left=0,
        score=0.0,
    )


def _waited(state: DriftState) -> DriftState:
    """One frame less of a reported shift; at its end the slow mean starts from the fast one."""
    if state.left > 1:
        return replace(state, left=state.left - 1)
    return replace(
        state,
        left=0,
        slow=state.fast,
        slow_variance=state.fast_variance,
        covariance=state.fast_variance,
        slow_frames=1 / state.fast_variance,
    )


def _inverse(spread: Vector) -> Vector:
    """1 / spread (C,); 0 for a channel that does not vary, which would outweigh all others."""
    varies = spread > 1e-6 * spread.max()
    return np.where(varies, 1 / np.where(varies, spread, 1), 0.0)
