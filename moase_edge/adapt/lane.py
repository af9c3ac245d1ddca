"""Where updates run beside the answers: a thread and a CUDA stream of their own, of lower priority."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Ticket(Protocol[T_co]):
    """A job that was handed over."""

    def done(self) -> bool:
        """Whether all of it is over, on the device too; never waits."""
        ...

    def result(self) -> T_co:
        """What the job returned, or raised; waits for it."""
        ...


class Lane(Protocol):
    """Runs one job after the other, beside the thread that hands them over."""

    def submit(self, job: Callable[[], T]) -> Ticket[T]:
        """Run a job after all that was enqueued on the current stream so far."""
        ...

    def close(self) -> None:
        """Wait for the job at hand and end."""
        ...


class CudaLane:
    """A thread, because a step reads its loss and would hold up whoever waits for it; and a stream.

    CUDA serves streams of higher priority first: answers run on one (see `runtime.streams`), updates here.

    Args:
        device: the GPU.
        cuda: `torch.cuda` or what stands in for it.
    """

    def __init__(self, device: torch.device, *, cuda: Any = torch.cuda) -> None:
        self._cuda, self._device = cuda, device
        self._stream = cuda.Stream(device, priority=0)
        # Made once: an event for every update would never be given back.
        self._handed_over = cuda.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learner")

    def submit(self, job: Callable[[], T]) -> Ticket[T]:
        """Run the job on the stream once the current one is where it is now; done when the stream has ended it."""
        self._handed_over.record(self._cuda.current_stream(self._device))
        return self._thread.submit(self._run, job)

    def _run(self, job: Callable[[], T]) -> T:
        with self._cuda.stream(self._stream):
            self._stream.wait_event(self._handed_over)
            done = job()
            self._stream.synchronize()
        return done

    def close(self) -> None:
        """Wait for the job at hand and end the thread."""
        self._thread.shutdown(wait=True)
