"""The memory of one content: what is new, what is the same, and the mean over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.adapt.content import ContentMemory
from tests.adapt.trackers import values_of

# Of a picture that stays the same.
KEY = np.array([1.0, 2.0])


def row(*values: float) -> NDArray[np.float64]:
    """Features of one head, (1, C)."""
    return np.array([values])


def test_first_frame_is_new_and_answered_as_it_is() -> None:
    mean, new = ContentMemory().see(row(1, 2), KEY)
    assert mean.tolist() == [[1, 2]]
    assert new


def test_frames_of_one_content_are_averaged() -> None:
    memory = ContentMemory()
    memory.see(row(3, 0), KEY)
    mean, new = memory.see(row(3, 2), KEY)
    assert (mean.tolist(), new) == ([[3, 1]], False)
    mean, new = memory.see(row(3, -2), KEY)
    assert (mean.tolist(), new) == ([[3, 0]], False)


@pytest.mark.parametrize(("second", "is_new"), [(row(1, 1.7), False), (row(1, 1.8), True), (row(-1, 0), True)])
def test_content_is_new_below_the_cosine(second: NDArray[np.float64], is_new: bool) -> None:
    # cos 60 degrees = 0.5; tan 60 = 1.73.
    memory = ContentMemory(same_content=0.5)
    memory.see(row(1, 0), KEY)
    mean, new = memory.see(second, KEY)
    assert new is is_new
    assert np.array_equal(mean, second) is is_new


def test_likeness_is_to_the_mean_of_the_content_not_to_its_first_frame() -> None:
    memory = ContentMemory(same_content=0.5)
    angles = np.deg2rad([0, 50, 80])
    news = [memory.see(row(np.cos(angle), np.sin(angle)), KEY)[1] for angle in angles]
    assert news == [True, False, False]


def test_oldest_frames_of_a_long_content_are_forgotten() -> None:
    memory = ContentMemory(longest=2)
    memory.see(row(4, 0), KEY)
    memory.see(row(6, 0), KEY)
    assert memory.see(row(3, 0), KEY)[0].tolist() == [[4, 0]]  # 5 + (3 - 5) / 2
    assert memory.see(row(6, 0), KEY)[0].tolist() == [[5, 0]]


def test_a_mean_that_lags_behind_by_more_than_noise_begins_anew_with_the_latest_two_frames() -> None:
    memory = ContentMemory()
    found = [memory.see(row(10, step), KEY)[0][0, 1] for step in (0.0, 1.0, 2.0, 3.0, 3.0)]
    # Of 0 and 1: 0.5. The 2 lies 1.5 from that, squared 2.25, and 1 from the 1 before it: over 1.5, so 1.5 of
    # both; the 3 likewise. The second 3 lies 0.5 from the mean and 0 from the frame before: of both it is 3.
    assert found == [0.0, 0.5, 1.5, 2.5, 3.0]


def test_noise_about_one_content_is_averaged_as_if_nothing_lagged() -> None:
    frames = np.random.default_rng(0).normal(size=(10, 1, 192)) + 3
    memory = ContentMemory()
    answers = [memory.see(frame, np.ones(192))[0] for frame in frames]
    assert np.allclose(answers[-1], frames.mean(axis=0))


def test_a_camera_that_turns_is_answered_within_a_frame_and_shows_new_content_though_nothing_jumps() -> None:
    memory, angles = ContentMemory(), np.deg2rad(np.arange(0, 360, 5))
    frames = [row(np.cos(angle), np.sin(angle)) for angle in angles]
    seen = [memory.see(frame, frame[0]) for frame in frames]
    step = np.linalg.norm(frames[1] - frames[0])
    assert max(np.linalg.norm(mean - frame) for (mean, _), frame in zip(seen, frames, strict=True)) <= step
    # cos 0.6 is 53 degrees: about ten frames of five degrees after those that it began with.
    assert 5 <= sum(new for _, new in seen) <= 8


def test_a_content_ends_where_its_mean_has_left_what_it_began_with() -> None:
    memory = ContentMemory(same_content=0.5)
    angles = np.deg2rad([0, 0, 0, 20, 40, 60, 80, 100, 120])
    news = [memory.see(row(np.cos(angle), np.sin(angle)), KEY)[1] for angle in angles]
    # As the mean lags it is that of the latest two: 30, 50, 70 degrees. Each frame lies within 60 of it, but
    # at 70 it has left the beginning by more, so that the 100 is something new.
    assert news == [True, False, False, False, False, False, False, True, False]


def test_features_at_the_source_s_mean_are_told_from_no_others() -> None:
    memory = ContentMemory()
    memory.see(row(0, 0), KEY)
    assert memory.see(row(5, 5), KEY)[1] is False


def test_heads_are_compared_together() -> None:
    memory = ContentMemory(same_content=0.5)
    memory.see(np.array([[1.0, 0], [1, 0]]), KEY)
    assert memory.see(np.array([[1.0, 0], [0.1, 1]]), KEY)[1] is False
    memory.reset()
    memory.see(np.array([[1.0, 0], [1, 0]]), KEY)
    assert memory.see(np.array([[1.0, 0], [-0.1, 1]]), KEY)[1] is True


def test_another_picture_is_new_content_though_its_features_are_alike() -> None:
    memory = ContentMemory(same_content=0.5)
    memory.see(row(1, 0), np.array([1.0, 0.0]))
    mean, new = memory.see(row(2, 0), np.array([0.0, 1.0]))
    assert (mean.tolist(), new) == ([[2, 0]], True)


def test_keys_are_compared_with_the_mean_key_of_the_content() -> None:
    memory = ContentMemory(same_content=0.5)
    angles = np.deg2rad([0, 50, 80])
    news = [memory.see(row(1, 0), np.array([np.cos(angle), np.sin(angle)]))[1] for angle in angles]
    assert news == [True, False, False]
    # 80 degrees from a first picture alone would be another.
    other = ContentMemory(same_content=0.5)
    other.see(row(1, 0), np.array([1.0, 0.0]))
    assert other.see(row(1, 0), np.array([np.cos(angles[2]), np.sin(angles[2])]))[1] is True


@given(st.lists(st.integers(0, 359), min_size=1, max_size=30), st.sampled_from([2.0**-9, 0.5, 64.0]))
def test_what_is_new_does_not_depend_on_scale(degrees: list[int], scale: float) -> None:
    one, other = ContentMemory(), ContentMemory()
    for angle in np.deg2rad(degrees):
        features = row(np.cos(angle), np.sin(angle), 0.3)
        (mean, new), (scaled, same) = one.see(features, KEY), other.see(scale * features, scale * KEY)
        assert new == same
        assert np.array_equal(scaled, scale * mean)


@pytest.mark.parametrize("seen", [0, 1, 5])
def test_restored_memory_continues_bit_for_bit(seen: int) -> None:
    frames = np.random.default_rng(0).normal(loc=1, size=(20, 1, 3))
    memory, other = ContentMemory(), ContentMemory()
    for frame in frames[:seen]:
        memory.see(frame, KEY)
    state = memory.snapshot()
    as_taken = values_of(state)
    first = [memory.see(frame, KEY)[0].tobytes() for frame in frames[seen:]]
    assert values_of(state) == as_taken
    other.see(frames[-1], KEY)
    other.restore(state)
    assert [other.see(frame, KEY)[0].tobytes() for frame in frames[seen:]] == first
    other.reset()
    assert other.snapshot() is None
    assert other.see(frames[0], KEY)[1]
