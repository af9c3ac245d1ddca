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
    mean, new = memory.see(row(3, 4), KEY)
    assert (mean.tolist(), new) == ([[3, 2]], False)


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
    assert memory.see(row(9, 0), KEY)[0].tolist() == [[7, 0]]  # 5 + (9 - 5) / 2
    assert memory.see(row(1, 0), KEY)[0].tolist() == [[4, 0]]


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
    assert values_of(other.snapshot()) == (None, None, 0)
    assert other.see(frames[0], KEY)[1]
