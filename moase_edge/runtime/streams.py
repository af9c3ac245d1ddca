"""On which CUDA stream answers are computed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

# A context within which answers are computed.
Answering = Callable[[], AbstractContextManager[Any]]


def answering_stream(device: torch.device, *, cuda: Any = torch.cuda) -> Answering:
    """A stream of high priority on a GPU, so that updates on another one give way; nothing on the CPU.

    Not the default stream: a CUDA graph cannot be captured there, and TensorRT synchronises the device on it.
    What was enqueued before is waited for once, here.
    """
    if device.type != "cuda":
        return nullcontext
    stream = cuda.Stream(device, priority=-1)
    stream.wait_stream(cuda.current_stream(device))
    return partial(cuda.stream, stream)
