"""Device memory and a stream of pycuda, for a device that answers frozen and has no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.tensorrt.memory import Capturable, ElementType, Enqueue
from moase_edge.errors import EngineError


class PycudaBuffer:
    """Device memory, and page-locked memory of the same size beside it.

    Attributes:
        host: (B, ...), page-locked.
    """

    def __init__(self, cuda: Any, stream: Any, shape: tuple[int, ...], dtype: ElementType) -> None:
        self._cuda, self._stream = cuda, stream
        try:
            self.host: NDArray[Any] = cuda.pagelocked_empty(shape, np.dtype(dtype))
            self.host[:] = 0
            self.device: Any = cuda.mem_alloc(self.host.nbytes)
        except cuda.MemoryError as exc:
            raise EngineError(
                f"no memory for a tensor of {' x '.join(map(str, shape))}: {exc}. Close what else uses the GPU, "
                "or run a smaller batch."
            ) from exc

    @property
    def address(self) -> int:
        """Of the device memory."""
        return int(self.device)

    def upload(self, rows: NDArray[np.float32]) -> None:
        """Copy to page-locked memory, and on from there; `download` waits before a run may end."""
        self.host[: len(rows)] = rows
        self._cuda.memcpy_htod_async(self.device, self.host, self._stream)


class PycudaMemory:
    """One stream of pycuda's in the GPU's primary context, which other libraries of the process share.

    Belongs to the thread that made it: the context is current there alone.

    Args:
        cuda: `pycuda.driver` or what stands in for it.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        try:
            cuda.init()
            self._context: Any = cuda.Device(0).retain_primary_context()
        except cuda.Error as exc:
            raise EngineError(
                f"pycuda finds no NVIDIA GPU: {exc}. Look at the driver (nvidia-smi), or use --engine ort."
            ) from exc
        self._context.push()
        self._stream = cuda.Stream()

    def staged(self, shape: tuple[int, ...], dtype: ElementType) -> PycudaBuffer:
        """A buffer for input."""
        return PycudaBuffer(self._cuda, self._stream, shape, dtype)

    def buffer(self, shape: tuple[int, ...], dtype: ElementType) -> PycudaBuffer:
        """A buffer for output."""
        return PycudaBuffer(self._cuda, self._stream, shape, dtype)

    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.handle)

    def download(self, buffer: PycudaBuffer, rows: int) -> NDArray[np.float32]:
        """Copy to page-locked memory, wait, and copy out of it."""
        self._cuda.memcpy_dtoh_async(buffer.host, buffer.device, self._stream)
        self._stream.synchronize()
        return buffer.host[:rows].astype(np.float32)

    def captured(self, enqueue: Enqueue, capturable: Capturable) -> Callable[[], None] | None:  # noqa: ARG002
        """None: pycuda captures no graphs in all versions that serve."""
        return None

    def free_bytes(self) -> int | None:
        """What the driver says."""
        free, _ = self._cuda.mem_get_info()
        return int(free)

    def close(self) -> None:
        """Let go of the primary context; PyTorch's or TensorRT's own hold on it is not touched."""
        if self._context is not None:
            self._context.pop()
            self._context = None


def pycuda_memory() -> PycudaMemory:
    """pycuda's memory on the first GPU.

    Raises:
        EngineError: pycuda is missing or broken, or there is no GPU.
    """
    try:
        import pycuda.driver as cuda
    except (ImportError, OSError) as exc:
        raise EngineError(
            f"a plan needs PyTorch or pycuda to hold its tensors, and neither can be imported ({exc}): "
            "`pip install 'moase-edge[adapt]'`, or `pip install 'moase-edge[pycuda]'` for the frozen model alone."
        ) from exc
    return PycudaMemory(cuda)
