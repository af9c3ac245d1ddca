from __future__ import annotations

import logging
import queue
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.errors import SourceError
from moase_edge.frames.newest import Captured, NewestFrame

PATIENCE_S = 10.0  # only ever spent by a test that fails


def level(value: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 3), value, np.uint8)


class ScriptedProducer:
    """Gives what the test puts in: an image, None, or an exception to raise. Blocks in between."""

    def __init__(self) -> None:
        self.inbox: queue.Queue[NDArray[Any] | Exception | None] = queue.Queue()
        self.closed = threading.Event()
        self.reader: threading.Thread | None = None
        self._ended = threading.Event()
        self._reads = 0
        self._asked = threading.Condition()

    def read(self) -> NDArray[Any] | None:
        with self._asked:
            self._reads += 1
            self.reader = threading.current_thread()
            self._asked.notify_all()
        given = None if self._ended.is_set() else self.inbox.get(timeout=PATIENCE_S)
        if isinstance(given, Exception):
            raise given
        return given

    def close(self) -> None:
        assert threading.current_thread() is self.reader
        self.closed.set()

    def put_and_wait(self, *given: NDArray[Any] | None) -> None:
        """Put frames in and wait until the reader has dealt with all of them and asks for the next."""
        with self._asked:
            goal = self._reads + len(given) + (self._reads == 0)
        for one in given:
            self.inbox.put(one)
        with self._asked:
            assert self._asked.wait_for(lambda: self._reads >= goal, PATIENCE_S)

    def end(self) -> None:
        """Let a blocked read, and all later ones, return without a frame."""
        self._ended.set()
        self.inbox.put(None)


def take(newest: NewestFrame) -> Captured:
    captured = newest.take()
    assert captured is not None
    return captured


def test_only_the_newest_frame_is_held_and_the_others_are_counted() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S)
    producer.put_and_wait(level(1), level(2), level(3))
    captured = take(newest)
    assert captured.image[0, 0, 0] == 3
    assert (captured.index, newest.dropped) == (2, 2)
    producer.put_and_wait(level(4))
    assert take(newest).index == 3
    assert newest.dropped == 2
    producer.end()
    newest.close()


def test_each_frame_is_delivered_or_dropped_whatever_the_order() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S)
    for taken, burst in enumerate((1, 3, 1, 5, 2)):
        producer.put_and_wait(*(level(i) for i in range(burst)))
        assert take(newest).index == taken + newest.dropped
    assert newest.dropped == 0 + 2 + 0 + 4 + 1
    producer.end()
    newest.close()


def test_a_frame_is_never_taken_twice_and_a_waiting_consumer_gets_the_next() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S)
    producer.put_and_wait(level(1))
    assert take(newest).index == 0
    taken: list[Captured | None] = []
    consumer = threading.Thread(target=lambda: taken.append(newest.take()))
    consumer.start()
    producer.put_and_wait(level(2))
    consumer.join(PATIENCE_S)
    assert [captured and captured.index for captured in taken] == [1]
    producer.end()
    newest.close()


def test_capture_time_is_read_when_the_frame_came() -> None:
    producer = ScriptedProducer()
    ticks = iter([10, 20, 30])
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S, clock_ns=lambda: next(ticks))
    producer.put_and_wait(level(1), None, level(2))
    assert take(newest).captured_ns == 20
    producer.end()
    newest.close()


def test_a_silent_producer_is_lost_after_the_time_limit() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="camera:7", wait_s=0.01)
    with pytest.raises(SourceError, match=r"source lost: camera:7 gave no frame for 0.01 s"):
        newest.take()
    producer.end()
    newest.close()


def test_failed_reads_are_counted_and_passed_over() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S)
    producer.put_and_wait(None, None, level(5))
    assert take(newest).index == 0
    assert newest.failed_reads == 2
    producer.end()
    newest.close()


def test_what_the_producer_raises_reaches_the_consumer_after_the_last_frame() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S)
    producer.put_and_wait(level(1))
    failure = OSError("unplugged")
    producer.inbox.put(failure)
    assert producer.closed.wait(PATIENCE_S)
    assert take(newest).index == 0
    for _ in range(2):  # it stays lost
        with pytest.raises(SourceError, match="source lost: x: unplugged") as caught:
            newest.take()
        assert caught.value.__cause__ is failure
    newest.close()


def test_closing_ends_the_thread_releases_the_producer_and_wakes_the_consumer() -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="x", wait_s=PATIENCE_S)
    producer.put_and_wait()
    taken: list[Captured | None] = []
    consumer = threading.Thread(target=lambda: taken.append(newest.take()))
    consumer.start()
    producer.end()
    newest.close()
    consumer.join(PATIENCE_S)
    assert taken == [None]
    assert producer.closed.is_set()
    assert producer.reader is not None
    assert not producer.reader.is_alive()
    newest.close()  # closing twice is allowed


def test_closing_does_not_wait_for_a_blocked_read(caplog: pytest.LogCaptureFixture) -> None:
    producer = ScriptedProducer()
    newest = NewestFrame(producer, name="camera:7", wait_s=PATIENCE_S)
    producer.put_and_wait()
    with caplog.at_level(logging.WARNING):
        newest.close(timeout_s=0.01)
    assert "camera:7: still blocked" in caplog.text
    assert not producer.closed.is_set()
    assert newest.take() is None
    producer.inbox.put(level(1))  # the read returns at last
    assert producer.closed.wait(PATIENCE_S)
