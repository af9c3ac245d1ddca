from __future__ import annotations

from itertools import islice

from moase_edge.frames.repeated import RepeatedSource
from moase_edge.frames.synthetic import SyntheticSource
from tests.runtime.fakes import ListSource, frames


def test_a_file_begins_again_at_its_end() -> None:
    opened: list[ListSource] = []

    def open_again() -> ListSource:
        opened.append(ListSource(frames(3)))
        return opened[-1]

    with RepeatedSource(open_again) as source:
        assert [frame.index for frame in islice(source.frames(), 7)] == [0, 1, 2, 0, 1, 2, 0]
    assert len(opened) == 3
    assert [one.closed for one in opened] == [1, 1, 1]


def test_a_file_without_frames_ends() -> None:
    with RepeatedSource(lambda: ListSource([])) as source:
        assert list(source.frames()) == []


def test_synthetic_pictures_are_seeded_differ_and_come_in_turn() -> None:
    first, again, other = (
        [frame.image for frame in islice(SyntheticSource(width=16, height=8, seed=seed).frames(), 9)]
        for seed in (0, 0, 1)
    )
    assert first[0].shape == (8, 16, 3)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != first[1]).any()
    assert (first[0] == first[8]).all()
    assert (first[0] != other[0]).any()


def test_a_closed_synthetic_source_ends() -> None:
    source = SyntheticSource(width=4, height=4)
    source.close()
    assert list(source.frames()) == []
