"""The drift detector: quiet on an unchanged stream, awake to a shift."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.adapt.drift import Drift, DriftDetector, DriftState

CHANNELS = 64


def gaussian(frames: int, *, seed: int, factors: int = 40) -> NDArray[np.float32]:
    """Features (frames, CHANNELS) whose channels have different spreads and share `factors` causes."""
    fixed = np.random.default_rng(7)
    mixing = fixed.normal(size=(factors, CHANNELS)) * fixed.uniform(0.2, 5, size=CHANNELS) / math.sqrt(factors)
    causes = np.random.default_rng(seed).normal(size=(frames, factors))
    return (causes @ mixing + 3).astype(np.float32)


def source_std() -> NDArray[np.float64]:
    return gaussian(4000, seed=99).astype(np.float64).std(axis=0)


def follow(detector: DriftDetector, frames: NDArray[np.float32]) -> list[Drift]:
    return [detector.update(frame) for frame in frames]


def first_alarm(drifts: list[Drift]) -> int | None:
    return next((index for index, drift in enumerate(drifts) if drift.shifted), None)


@pytest.mark.parametrize("known", [True, False])
def test_unchanged_stream_raises_no_alarm_and_its_score_is_standard(known: bool) -> None:
    drifts = follow(DriftDetector(source_std() if known else None), gaussian(5000, seed=0))
    assert first_alarm(drifts) is None
    scores = np.array([drift.score for drift in drifts[50:]])
    # 5000 frames hold about 250 independent values of a mean over 19 frames.
    assert abs(scores.mean()) < 0.25
    assert 0.8 < scores.std() < 1.2


def test_stream_that_spreads_more_widely_than_the_source_is_no_shift() -> None:
    drifts = follow(DriftDetector(source_std()), 3 * gaussian(3000, seed=1))
    assert first_alarm(drifts) is None


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shift_of_half_a_spread_is_found_within_20_frames(seed: int, known: bool) -> None:
    detector = DriftDetector(source_std() if known else None)
    assert first_alarm(follow(detector, gaussian(300, seed=seed))) is None
    signs = np.where(np.arange(CHANNELS) % 2, 1, -1)
    shifted = (gaussian(20, seed=seed + 10) + 0.5 * source_std() * signs).astype(np.float32)
    found = first_alarm(follow(detector, shifted))
    # Not before the patience is over.
    assert found is not None
    assert found >= 2


def test_shift_is_reported_for_the_hold_and_then_followed() -> None:
    detector = DriftDetector(source_std(), hold=40)
    follow(detector, gaussian(200, seed=4))
    drifts = follow(detector, (gaussian(600, seed=5) + source_std()).astype(np.float32))
    found = first_alarm(drifts)
    assert found is not None
    assert [drift.shifted for drift in drifts] == [found <= index < found + 40 for index in range(600)]
    # And the way back is a shift again.
    assert first_alarm(follow(detector, gaussian(30, seed=6))) is not None


def test_single_frame_of_another_kind_is_no_shift() -> None:
    detector = DriftDetector(source_std())
    follow(detector, gaussian(200, seed=4))
    flash = (gaussian(1, seed=5) + 3 * source_std()).astype(np.float32)
    assert first_alarm(follow(detector, np.concatenate([flash, gaussian(100, seed=6)]))) is None


def test_score_of_one_channel_is_as_computed_by_hand() -> None:
    detector = DriftDetector(np.ones(1), fast=0.5, slow=0.75, warm_up=10)
    drifts = follow(detector, np.array([[0]] * 10 + [[4]], dtype=np.float32))
    # Ten equal frames, then 4: the fast mean takes a half of it, the slow one a quarter. Both are sums of frames:
    fast, slow = np.zeros(11), np.zeros(11)
    for frame in range(11):
        before = float(slow @ slow)
        for weights, least in ((fast, 0.5), (slow, 0.25)):
            gain = max(least, 1 / (frame + 1))
            weights[:frame] *= 1 - gain
            weights[frame] = gain
    energy = 0.25 * 4**2 / (1 + before)
    q = (2 - 1) ** 2 / (((fast - slow) @ (fast - slow)) * energy)
    # One channel has one degree of freedom.
    assert drifts[-1].score == pytest.approx((np.cbrt(q) - 7 / 9) / math.sqrt(2 / 9), rel=1e-12)


def test_frame_that_is_not_finite_is_passed_over() -> None:
    with_gap, without = DriftDetector(), DriftDetector()
    frames = gaussian(60, seed=1)
    follow(with_gap, frames[:30])
    before = with_gap.snapshot()
    assert with_gap.update(np.full(CHANNELS, np.nan, np.float32)).shifted is False
    assert with_gap.snapshot() is before
    assert follow(with_gap, frames[30:]) == follow(without, frames)[30:]


def test_channels_that_never_vary_change_nothing() -> None:
    frames = gaussian(400, seed=1)
    frames[:, 0] = 1
    std = source_std()
    std[0] = 0
    frames[300:, 1:] += std[1:].astype(np.float32)
    for detector in (DriftDetector(std), DriftDetector()):
        drifts = follow(detector, frames)
        found = first_alarm(drifts)
        assert found is not None
        assert found >= 300
        assert all(math.isfinite(drift.score) for drift in drifts)


def test_black_stream_gives_finite_scores() -> None:
    drifts = follow(DriftDetector(), np.zeros((200, CHANNELS), np.float32))
    assert all(math.isfinite(drift.score) for drift in drifts)
    assert first_alarm(drifts) is None


def values(state: DriftState | None) -> list[Any]:
    assert state is not None
    return [np.asarray(getattr(state, name)).tobytes() for name in DriftState.__slots__]


@pytest.mark.parametrize("frames", [1, 30, 215])
def test_restored_detector_continues_bit_for_bit(frames: int) -> None:
    stream = gaussian(300, seed=2)
    stream[200:] += source_std().astype(np.float32)
    detector, other = DriftDetector(source_std()), DriftDetector(source_std())
    follow(detector, stream[:frames])
    state = detector.snapshot()
    as_taken = values(state)
    first = follow(detector, stream[frames:])
    assert values(state) == as_taken
    other.restore(state)
    assert follow(other, stream[frames:]) == first
    assert values(other.snapshot()) == values(detector.snapshot())


def test_reset_forgets_the_stream() -> None:
    stream = gaussian(100, seed=2)
    detector = DriftDetector()
    first = follow(detector, stream)
    detector.reset()
    assert detector.snapshot() is None
    assert follow(detector, stream) == first


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(64,\); got \(3,\)"):
        DriftDetector(source_std()).update(np.zeros(3, np.float32))
    detector = DriftDetector()
    detector.update(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"shape \(4,\); got \(3,\)"):
        detector.update(np.zeros(3, np.float32))
