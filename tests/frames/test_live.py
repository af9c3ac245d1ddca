from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.live import Grabbed, LiveSource, growing_pauses
from tests.frames.test_newest import PATIENCE_S

QUICK = SourceSettings(first_pause_s=0.001, most_pause_s=0.004)
GONE = SourceError("source lost: unplugged")


def bgr(height: int = 2, width: int = 3) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (1, 2, 3), np.uint8)


class Script:
    """Opens a source again and again: each time it gives, or fails with, what comes next."""

    def __init__(self, *openings: Sequence[Grabbed | SourceError] | SourceError) -> None:
        self.openings = list(openings)
        self.opened: list[FakeGrabber] = []

    def __call__(self, stopped: Callable[[], bool]) -> FakeGrabber:
        opening = self.openings.pop(0)
        if isinstance(opening, SourceError):
            raise opening
        self.opened.append(FakeGrabber(list(opening)))
        return self.opened[-1]


class FakeGrabber:
    """Gives its script, then waits until it is stopped."""

    def __init__(self, script: list[Grabbed | SourceError]) -> None:
        self.script = script
        self.closed = False

    def grab(self, stopped: Callable[[], bool]) -> Grabbed | None:
        assert not self.closed
        if not self.script:
            while not stopped():
                time.sleep(0.001)
            return None
        given = self.script.pop(0)
        if isinstance(given, SourceError):
            raise given
        return given

    def waiting(self) -> bool:
        return bool(self.script)

    def close(self) -> None:
        self.closed = True


def grabbed(index: int, image: NDArray[Any] | None = None, failed_reads: int = 0) -> Grabbed:
    return Grabbed(bgr() if image is None else image, index, 42, failed_reads)


def test_live_frames_are_rgb_and_counted() -> None:
    script = Script([grabbed(1), grabbed(4, np.full((4, 4), 9, np.uint8), failed_reads=2)])
    with LiveSource("rtsp://admin:secret@host/1", script, QUICK) as source:
        colour, grey = islice(source.frames(), 2)
        assert (colour.image == (3, 2, 1)).all()
        assert (colour.index, colour.captured_ns, colour.name) == (1, 42, None)
        assert (grey.image == 9).all()
        assert grey.image.shape == (4, 4, 3)
        counts = source.counts
        assert (counts.delivered, counts.dropped, counts.converted, counts.resized, counts.decode_errors) == (
            *(2, 3, 1),
            *(1, 2),
        )
        assert (source.name, source.live, source.length) == ("rtsp://***@host/1", True, None)
    assert script.opened[0].closed


def test_a_lost_source_is_opened_again_and_its_frames_go_on_counting(caplog: pytest.LogCaptureFixture) -> None:
    script = Script(
        [grabbed(0), grabbed(2, failed_reads=1), GONE],
        SourceError("refused"),
        [GONE],  # it opens, but gives nothing
        [grabbed(1, failed_reads=1), grabbed(2, failed_reads=1)],
    )
    with caplog.at_level(logging.INFO, logger="moase_edge"), LiveSource("camera:0", script, QUICK) as source:
        frames = list(islice(source.frames(), 4))
    # 3 frames before the outage, the first of those after it was overwritten
    assert [frame.index for frame in frames] == [0, 2, 4, 5]
    counts = source.counts
    assert (counts.delivered, counts.dropped, counts.reopened, counts.decode_errors) == (4, 2, 1, 2)
    assert source.trouble is None
    assert "source lost: unplugged; it is opened again" in caplog.text
    assert "camera:0 cannot be opened again yet: refused" in caplog.text
    assert "camera:0 is back after" in caplog.text
    assert all(grabber.closed for grabber in script.opened)


def test_a_source_that_never_gave_a_frame_is_lost_at_once() -> None:
    script = Script([GONE])
    source = LiveSource("camera:3", script, QUICK)
    with pytest.raises(SourceError, match="source lost: unplugged"):
        next(source.frames())
    assert script.opened[0].closed


def test_a_source_that_cannot_be_opened_is_refused_at_once() -> None:
    with pytest.raises(SourceError, match="no such camera"):
        LiveSource("camera:3", Script(SourceError("no such camera")), QUICK)


def test_it_is_given_up_after_the_time_that_was_allowed() -> None:
    patient = QUICK.model_copy(update={"give_up_after_s": 0.02})
    script = Script([grabbed(0), GONE], *[SourceError("refused")] * 1000)
    source = LiveSource("camera:0", script, patient)
    frames = source.frames()
    next(frames)
    with pytest.raises(SourceError, match=r"source lost: unplugged; given up after 0.02 s"):
        next(frames)
    assert len(script.openings) < 1000


def test_with_no_patience_it_is_not_opened_again() -> None:
    script = Script([grabbed(0), GONE], [grabbed(0)])
    source = LiveSource("camera:0", script, QUICK.model_copy(update={"give_up_after_s": 0.0}))
    with pytest.raises(SourceError, match="given up after 0 s"):
        list(source.frames())
    assert len(script.openings) == 1


def test_pauses_grow_up_to_a_limit() -> None:
    assert list(islice(growing_pauses(1, 30), 7)) == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("waiting_for", ["a frame", "the next try"])
def test_stopping_from_another_thread_ends_a_wait(waiting_for: str) -> None:
    script = Script([grabbed(0)] if waiting_for == "a frame" else [grabbed(0), GONE])
    source = LiveSource("x", script, SourceSettings(first_pause_s=1e6, most_pause_s=1e6))
    frames = source.frames()
    next(frames)
    rest: list[Any] = []
    consumer = threading.Thread(target=lambda: rest.extend(frames))
    consumer.start()
    if waiting_for == "the next try":
        until = time.monotonic() + PATIENCE_S
        while source.trouble is None and time.monotonic() < until:
            time.sleep(0.001)
        assert source.trouble is not None
        assert source.trouble.startswith("source lost 0 s ago, tried again in")
    source.stop()
    consumer.join(PATIENCE_S)
    assert not consumer.is_alive()
    assert rest == []
    assert source.counts.reopened == 0
    source.close()


def test_it_says_whether_a_newer_frame_waits() -> None:
    source = LiveSource("x", Script([grabbed(0), grabbed(1)]), QUICK)
    frames = source.frames()
    next(frames)
    assert source.waiting
    next(frames)
    assert not source.waiting
    source.close()
    assert not source.waiting


def test_a_closed_source_has_no_more_frames() -> None:
    script = Script([grabbed(0), grabbed(1)])
    source = LiveSource("x", script, QUICK)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()  # closing twice is allowed
    assert list(frames) == []
    assert script.opened[0].closed
