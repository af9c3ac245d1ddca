"""Pictures of the newest frame."""

from __future__ import annotations

from time import perf_counter_ns

import cv2
import numpy as np

from moase_edge.frames.frame import Frame
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.pictures import Pictures, encoded
from tests.runtime.fakes import LevelMethod, ListSource, pipeline_of
from tests.runtime.stateful import HandClock


def test_a_picture_is_a_jpeg_in_the_right_colours() -> None:
    red = np.zeros((32, 48, 3), dtype=np.uint8)
    red[..., 0] = 250
    read = cv2.imdecode(np.frombuffer(encoded(red), np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    assert read.shape == (32, 48, 3)
    assert np.abs(read.reshape(-1, 3).mean(axis=0) - [0, 0, 250]).max() < 5  # OpenCV's order


def test_a_large_picture_is_scaled_down_and_keeps_its_form() -> None:
    for height, width, scaled in ((1080, 1920, (540, 960)), (2000, 10, (960, 5)), (3000, 1, (960, 1))):
        data = encoded(np.zeros((height, width, 3), dtype=np.uint8))
        read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert read is not None
        assert read.shape[:2] == scaled


def live_of(count: int) -> tuple[Live, list[Frame]]:
    frames = [Frame(np.full((8, 8, 3), index, np.uint8), index, perf_counter_ns()) for index in range(count)]
    source = ListSource(frames)
    return Live(pipeline_of(LevelMethod()), source), frames


def test_ten_pictures_a_second_are_made_however_many_frames_come_and_however_often_one_asks() -> None:
    live, frames = live_of(3)
    clock = HandClock()
    pictures = Pictures(live, clock_s=clock)
    assert pictures.refresh() is None
    results = list(live.pipeline.run(ListSource(frames)))
    live.answered(results[0])
    first = pictures.refresh()
    assert first is not None
    assert (first.number, first.result.frame.index) == (1, 0)
    live.answered(results[1])
    clock.now_s = 0.09
    assert pictures.refresh() is first
    live.answered(results[2])
    clock.now_s = 0.11
    newest = pictures.refresh()
    assert newest is not None
    assert (newest.number, newest.result.frame.index) == (2, 2)  # frame 1 was never encoded
    clock.now_s = 9.0
    assert pictures.refresh() is newest  # no newer frame, no work
    assert pictures.encoded == 2
