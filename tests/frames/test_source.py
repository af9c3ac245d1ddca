from __future__ import annotations

import numpy as np

from moase_edge.frames.source import SourceCounts


def test_counts_start_at_zero_without_a_size() -> None:
    assert SourceCounts() == SourceCounts(0, 0, 0, 0, 0, 0, 0, 0, None)


def test_a_frame_counts_as_resized_when_its_size_differs_from_the_one_before() -> None:
    counts = SourceCounts()
    for height, width in [(4, 6), (4, 6), (6, 4), (4, 6), (4, 6)]:
        counts.count(np.zeros((height, width, 3), np.uint8), converted=False)
    assert (counts.delivered, counts.resized, counts.size) == (5, 2, (4, 6))


def test_converted_frames_are_counted() -> None:
    counts = SourceCounts()
    for converted in (True, False, True):
        counts.count(np.zeros((2, 2, 3), np.uint8), converted=converted)
    assert (counts.delivered, counts.converted) == (3, 2)
