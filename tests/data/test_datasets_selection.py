"""Parts of a data set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.data.labelled import LabelledImages, LabelledPictures
from moase_edge.data.selection import limited, split, subset
from moase_edge.errors import ConfigError


def pictures(count: int) -> LabelledImages:
    """Picture i is filled with the value i and has the label i % 2."""
    values = np.arange(count, dtype=np.uint8)
    images = np.tile(values[:, None, None, None], (1, 2, 2, 3))
    return LabelledImages(images, np.arange(count, dtype=np.int64) % 2, ("a", "b"))


class Counted:
    """Pictures that count how often one is read."""

    def __init__(self, count: int) -> None:
        self.count, self.reads = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        self.reads += 1
        return np.full((1, 1, 3), index, np.uint8)


def test_subset_keeps_pictures_labels_and_ids_together() -> None:
    part = subset(pictures(10), np.array([7, 2, 4]))
    assert len(part) == 3
    assert part.ids.tolist() == [7, 2, 4]
    assert part.labels.tolist() == [1, 0, 0]
    assert [int(part[index][0, 0, 0]) for index in range(3)] == [7, 2, 4]


def test_subset_of_a_subset_has_the_ids_of_the_whole() -> None:
    part = subset(subset(pictures(10), np.array([7, 2, 4])), np.array([2, 0]))
    assert part.ids.tolist() == [4, 7]
    assert [int(part[index][0, 0, 0]) for index in range(2)] == [4, 7]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    counted = Counted(20)
    whole = LabelledPictures(counted, np.zeros(20, np.int64), ("a",), np.arange(20))
    source, stream = split(whole, 5, seed=0)
    few = limited(stream, 3, seed=0)
    assert counted.reads == 0
    assert int(few[1][0, 0, 0]) == few.ids[1]
    assert counted.reads == 1
    assert len(source) + len(stream) == 20


@given(st.integers(1, 40), st.data(), st.integers(0, 2**32))
def test_split_is_disjoint_and_complete(count: int, data: st.DataObject, seed: int) -> None:
    first = data.draw(st.integers(0, count - 1))
    source, stream = split(pictures(count), first, seed)
    assert len(source) == first
    assert sorted([*source.ids, *stream.ids]) == list(range(count))
    assert source.ids.tolist() == sorted(source.ids)
    assert stream.ids.tolist() == sorted(stream.ids)


def test_split_is_random_and_repeats_by_seed() -> None:
    parts = [split(pictures(40), 10, seed)[0].ids.tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    assert parts[0] != list(range(10))


def test_limit_and_split_of_one_seed_draw_differently() -> None:
    assert limited(pictures(40), 10, 3).ids.tolist() != split(pictures(40), 10, 3)[0].ids.tolist()


@pytest.mark.parametrize("first", [-1, 10, 11])
def test_split_that_leaves_nothing_to_stream_is_refused(first: int) -> None:
    with pytest.raises(ConfigError, match=f"{first} of 10 pictures"):
        split(pictures(10), first, 0)


def test_no_limit_gives_the_set_itself() -> None:
    whole = pictures(5)
    assert limited(whole, None, 0) is whole
    assert limited(whole, 5, 0) is whole


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"limit is {limit}"):
        limited(pictures(5), limit, 0)
