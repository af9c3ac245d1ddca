"""The lane of a GPU, over a stand-in of `torch.cuda`: order of stream, event and job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from moase_edge.adapt.lane import CudaLane


class Recorder:
    """`torch.cuda`, as far as a lane goes."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def Stream(self, device: Any, priority: int = 0) -> Any:  # noqa: N802 - PyTorch's names
        self.log.append(f"stream of priority {priority}")
        return self

    def Event(self) -> Any:  # noqa: N802
        self.log.append("event")
        return self

    def current_stream(self, device: Any) -> str:
        return "the answers' stream"

    def record(self, stream: str) -> None:
        self.log.append(f"record on {stream}")

    def wait_event(self, event: Any) -> None:
        self.log.append("wait for it")

    def synchronize(self) -> None:
        self.log.append("synchronize")

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.log.append("enter")
        yield
        self.log.append("leave")


def test_a_job_runs_on_a_stream_of_low_priority_after_what_was_enqueued_and_is_over_with_it() -> None:
    cuda = Recorder()
    lane = CudaLane(torch.device("cuda"), cuda=cuda)
    for _ in range(2):
        assert lane.submit(lambda: cuda.log.append("job") or 7).result() == 7
    lane.close()
    one = ["record on the answers' stream", "enter", "wait for it", "job", "synchronize", "leave"]
    assert cuda.log == ["stream of priority 0", "event", *one, *one], "streams and events are made once"


def test_whoever_hands_a_job_over_does_not_wait_for_it() -> None:
    lane, gate = CudaLane(torch.device("cuda"), cuda=Recorder()), threading.Event()
    ticket = lane.submit(lambda: gate.wait(30))
    assert not ticket.done()
    gate.set()
    assert ticket.result()
    assert ticket.done()
    lane.close()


def test_what_a_job_raises_is_raised_by_its_ticket() -> None:
    def fail() -> None:
        raise ZeroDivisionError("made up")

    lane = CudaLane(torch.device("cuda"), cuda=Recorder())
    with pytest.raises(ZeroDivisionError, match="made up"):
        lane.submit(fail).result()
    assert lane.submit(lambda: 1).result() == 1, "the lane goes on"
    lane.close()
