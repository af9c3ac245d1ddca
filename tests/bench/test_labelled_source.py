from __future__ import annotations

from time import perf_counter_ns

import numpy as np

from moase_edge.bench.labelled_source import LabelledSource
from moase_edge.data.labelled import LabelledImage


def stream(count: int) -> list[LabelledImage]:
    """Picture i shows level i, has label i % 2, and belongs to the domain of its half."""
    return [
        LabelledImage(
            np.full((2, 3, 3), index, dtype=np.uint8), index % 2, "clear" if 2 * index < count else "fog"
        )
        for index in range(count)
    ]


def test_frames_come_in_order_with_label_domain_and_time() -> None:
    before_ns = perf_counter_ns()
    frames = list(LabelledSource(stream(4), "levels").frames())
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 3]
    assert [frame.label for frame in frames] == [0, 1, 0, 1]
    assert [frame.domain for frame in frames] == ["clear", "clear", "fog", "fog"]
    times = [frame.captured_ns for frame in frames]
    assert before_ns < times[0] <= times[-1] <= perf_counter_ns()
    assert times == sorted(times)


def test_it_is_a_source_of_known_length_that_waits() -> None:
    source = LabelledSource(stream(3), "levels")
    assert (source.name, source.live, source.length) == ("levels", False, 3)
    frames = source.frames()
    assert source.counts.delivered == 0
    next(frames)
    assert (source.counts.delivered, source.counts.size) == (1, (2, 3))


def test_a_second_reading_goes_on_where_the_first_stopped() -> None:
    source = LabelledSource(stream(3), "levels")
    assert next(source.frames()).index == 0
    assert [frame.index for frame in source.frames()] == [1, 2]
    assert list(source.frames()) == []


def test_closing_ends_a_reading_that_has_begun() -> None:
    with LabelledSource(stream(3), "levels") as source:
        frames = source.frames()
        next(frames)
        source.close()
        assert list(frames) == []
    source.close()
