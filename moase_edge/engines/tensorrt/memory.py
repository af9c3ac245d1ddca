"""What an executor needs of CUDA, behind one seam: PyTorch's, or pycuda's on a device without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# Of tensors that go into or come out of a plan.
ElementType = Literal["float32", "float16"]

# Enqueues one run on the stream of this handle; says whether it can be captured there.
Enqueue = Callable[[int], None]
Capturable = Callable[[int], bool]


class Buffer(Protocol):
    """Device memory of one tensor, taken once.

    Attributes:
        address: of its first byte, on the device.
    """

    @property
    def address(self) -> int: ...


class Staged(Buffer, Protocol):
    """A buffer with page-locked host memory beside it."""

    def upload(self, rows: NDArray[np.float32]) -> None:
        """Copy (b, ...) with b up to the buffer's batch to its first rows; the array is free on return."""
        ...


class DeviceMemory(Protocol):
    """Buffers, one stream and the copies on it."""

    def staged(self, shape: tuple[int, ...], dtype: ElementType) -> Staged:
        """A buffer for input, zeros at first.

        Raises:
            EngineError: too little memory.
        """
        ...

    def buffer(self, shape: tuple[int, ...], dtype: ElementType) -> Any:
        """A buffer for output: a `Buffer` that `download` takes.

        Raises:
            EngineError: too little memory.
        """
        ...

    def stream(self) -> int:
        """Handle of the stream that is current."""
        ...

    def download(self, buffer: Any, rows: int) -> NDArray[np.float32]:
        """Wait for the stream; the first rows of a buffer, in host memory that the caller owns, as float32."""
        ...

    def captured(self, enqueue: Enqueue, capturable: Capturable) -> Callable[[], None] | None:
        """Capture what is enqueued as a CUDA graph; what replays it on the current stream, or None for none.

        Raises:
            RuntimeError: the capture failed.
        """
        ...

    def free_bytes(self) -> int | None:
        """Device memory that can be taken; None where nobody knows."""
        ...

    def close(self) -> None:
        """Release what was taken besides the buffers."""
        ...
