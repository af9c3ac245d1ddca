"""Streams whose neighbours are likely of one class."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.data.labelled import Domain, LabelledImages
from moase_edge.data.protocols import Stream
from moase_edge.data.protocols.correlated import class_sorted, dirichlet

A, B = Domain("a"), Domain("b")


def pictures(classes: int, each: int) -> LabelledImages:
    """`each` pictures of every class, classes taking turns."""
    labels = np.arange(classes * each, dtype=np.int64) % classes
    return LabelledImages(
        np.zeros((len(labels), 2, 2, 3), np.uint8), labels, tuple(str(label) for label in range(classes))
    )


def repeats(stream: Stream) -> float:
    """Share of frames whose label is that of the frame before."""
    return float(np.mean(np.diff(stream.labels) == 0))


def test_class_sorted_shows_each_class_in_one_piece_in_order_of_its_index() -> None:
    stream = class_sorted(pictures(4, 5), [A, B], seed=0)
    assert stream.labels.tolist() == [label for _ in "ab" for label in range(4) for _ in range(5)]
    first, second = stream.pictures[:20], stream.pictures[20:]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first.tolist() != second.tolist()
    assert first[:5].tolist() != sorted(first[:5])


def test_tiny_delta_sorts_by_class() -> None:
    # Each class falls into a single slot and stands there in one piece: 9 changes among 199 neighbours.
    stream = dirichlet(pictures(10, 20), [A], seed=0, delta=1e-3)
    assert repeats(stream) == pytest.approx(190 / 199)
    assert stream.settings["slots"] == 10


def test_delta_near_zero_puts_each_class_into_one_slot() -> None:
    assert repeats(dirichlet(pictures(10, 20), [A], seed=0, delta=1e-320)) == pytest.approx(190 / 199)


def test_large_delta_is_nearly_independent() -> None:
    # 20 slots hold one picture of each class, shuffled. Only across the 19 borders of slots may a label repeat:
    # independent draws would repeat in 10 % of all neighbours.
    stream = dirichlet(pictures(10, 20), [A], seed=0, delta=1e9, slots=20)
    assert repeats(stream) <= 0.1
    quarters = np.split(stream.labels, 4)
    assert all(max(Counter(quarter.tolist()).values()) <= 6 for quarter in quarters)


def test_pieces_of_a_slot_are_shuffled() -> None:
    # A single slot holds each class in one piece, in another order in each domain.
    stream = dirichlet(pictures(20, 3), [A, B], seed=0, slots=1)
    first, second = stream.labels[:60:3].tolist(), stream.labels[60::3].tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != sorted(first)
    assert first != second


def test_large_delta_leaves_pieces_of_a_slot_as_published() -> None:
    # 10 slots of 10 pieces, each piece two pictures of one class: at least every second neighbour repeats.
    assert repeats(dirichlet(pictures(10, 20), [A], seed=0, delta=1e9)) == pytest.approx(0.5, abs=0.06)


def test_correlation_falls_with_delta() -> None:
    shares = [
        np.mean([repeats(dirichlet(pictures(10, 30), [A], seed=seed, delta=delta)) for seed in range(5)])
        for delta in (0.01, 0.1, 1.0, 10.0)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1] + 0.1


def test_domains_are_gathered_independently() -> None:
    stream = dirichlet(pictures(5, 10), [A, B], seed=0)
    assert stream.labels[:50].tolist() != stream.labels[50:].tolist()


def test_slots_follow_the_classes_that_are_there_up_to_a_hundred() -> None:
    some = pictures(5, 4)
    unused = LabelledImages(some.images, some.labels, tuple(str(label) for label in range(1000)))
    assert dirichlet(unused, [A], seed=0).settings["slots"] == 5
    assert dirichlet(pictures(150, 1), [A], seed=0).settings["slots"] == 100


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.floats(1e-6, 1e6),
    st.integers(1, 30) | st.none(),
    st.integers(0, 2**32),
)
def test_every_picture_comes_once_in_each_domain(
    classes: int, each: int, delta: float, slots: int | None, seed: int
) -> None:
    stream = dirichlet(pictures(classes, each), [A, B], seed=seed, delta=delta, slots=slots)
    half = classes * each
    assert sorted(stream.pictures[:half]) == sorted(stream.pictures[half:]) == list(range(half))
