from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from moase_edge.errors import ConfigError
from moase_edge.frames.paced import PacedVideo
from moase_edge.frames.video import VideoSource
from tests.frames.test_newest import PATIENCE_S
from tests.frames.test_video import write_video

MS = 1_000_000


class FakeClock:
    """Time passes only while somebody sleeps or works."""

    def __init__(self) -> None:
        self.now_ns = 7_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def work(self, ms: float) -> None:
        self.now_ns += round(ms * MS)

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def paced(path: Path, clock: FakeClock) -> PacedVideo:
    return PacedVideo(VideoSource(path), clock_ns=clock, sleep=clock.sleep)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames, 100 ms apart."""
    return write_video(tmp_path / "x.avi", frames=10, rate=10)


def test_each_frame_comes_at_its_time_to_who_keeps_up(video: Path) -> None:
    clock = FakeClock()
    began_ns = clock.now_ns
    with paced(video, clock) as source:
        assert (source.live, source.length) == (True, 10)
        for position, frame in enumerate(source.frames()):
            assert frame.index == position
            assert frame.captured_ns == clock.now_ns == began_ns + position * 100 * MS
            clock.work(ms=60)
    counts = source.counts
    assert (counts.delivered, counts.dropped, counts.missing) == (10, 0, 0)


def test_late_frames_are_dropped_and_counted(video: Path) -> None:
    clock = FakeClock()
    began_ns = clock.now_ns
    indices, ages_ms = [], []
    with paced(video, clock) as source:
        for frame in source.frames():
            indices.append(frame.index)
            ages_ms.append((clock.now_ns - frame.captured_ns) / MS)
            assert frame.captured_ns == began_ns + frame.index * 100 * MS
            clock.work(ms=250)
    # asked at 0, 250, 500 and 750 ms for what is due then; the last frame has no successor and is never late
    assert indices == [0, 2, 5, 7, 9]
    assert ages_ms == [0, 50, 0, 50, 100]
    counts = source.counts
    assert (counts.delivered, counts.dropped, counts.missing) == (5, 5, 0)


def test_a_frame_waits_once_it_is_due(video: Path) -> None:
    clock = FakeClock()
    with paced(video, clock) as source:
        frames = source.frames()
        assert not source.waiting
        next(frames)
        clock.work(ms=99)
        assert not source.waiting
        clock.work(ms=1)
        assert source.waiting
        assert [frame.index for frame in frames] == list(range(1, 10))
        assert not source.waiting


def test_a_wait_for_a_frame_can_be_ended(tmp_path: Path) -> None:
    slow = write_video(tmp_path / "slow.avi", frames=3, rate=0.01)
    source = PacedVideo(VideoSource(slow))
    frames = source.frames()
    assert next(frames).index == 0
    rest: list[object] = []
    consumer = threading.Thread(target=lambda: rest.extend(frames))
    consumer.start()
    time.sleep(0.01)
    source.stop()
    consumer.join(PATIENCE_S)
    assert not consumer.is_alive()
    assert rest == []
    source.close()


def test_a_video_without_a_rate_has_no_clock(video: Path) -> None:
    inner = VideoSource(video)
    inner.rate = None
    with pytest.raises(ConfigError, match="use --pace full"):
        PacedVideo(inner)
    assert list(inner.frames()) == []  # it was closed
