"""Device memory, streams and CUDA graphs of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.engines.tensorrt.memory import Capturable, ElementType, Enqueue
from moase_edge.errors import EngineError

_TYPES: dict[ElementType, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


class TorchBuffer:
    """A tensor on the device.

    Attributes:
        tensor: (B, ...).
    """

    def __init__(self, shape: tuple[int, ...], dtype: ElementType, device: torch.device) -> None:
        with enough_memory(_tensor_of(shape)):
            self.tensor = torch.zeros(shape, dtype=_TYPES[dtype], device=device)

    @property
    def address(self) -> int:
        """Of its first byte."""
        return int(self.tensor.data_ptr())


class TorchStaged(TorchBuffer):
    """A tensor on the device and one in page-locked memory, with the event after which the latter is free."""

    def __init__(self, shape: tuple[int, ...], dtype: ElementType, device: torch.device, cuda: Any | None) -> None:
        super().__init__(shape, dtype, device)
        with enough_memory(_tensor_of(shape)):
            self._host = torch.zeros(shape, dtype=_TYPES[dtype], pin_memory=cuda is not None)
        # Made once: events that are made for every frame are never given back.
        self._copied = None if cuda is None else cuda.Event()

    def upload(self, rows: NDArray[np.float32]) -> None:
        """Copy to page-locked memory at once, and from there on the current stream."""
        if self._copied is not None:
            self._copied.synchronize()
        self._host[: len(rows)].copy_(torch.from_numpy(rows))
        self.tensor.copy_(self._host, non_blocking=True)
        if self._copied is not None:
            self._copied.record()


class TorchMemory:
    """PyTorch's memory on one device; everything runs on PyTorch's current stream.

    Args:
        device: a CUDA device, or the CPU for tests with a stand-in of TensorRT.
        cuda: `torch.cuda` or what stands in for it; None where there is none.
    """

    def __init__(self, device: torch.device, *, cuda: Any | None) -> None:
        self.device = device
        self._cuda = cuda

    def staged(self, shape: tuple[int, ...], dtype: ElementType) -> TorchStaged:
        """A buffer for input."""
        return TorchStaged(shape, dtype, self.device, self._cuda)

    def buffer(self, shape: tuple[int, ...], dtype: ElementType) -> TorchBuffer:
        """A buffer for output."""
        return TorchBuffer(shape, dtype, self.device)

    def stream(self) -> int:
        """Handle of PyTorch's current stream; 0 on the CPU."""
        return 0 if self._cuda is None else int(self._cuda.current_stream(self.device).cuda_stream)

    def download(self, buffer: TorchBuffer, rows: int) -> NDArray[np.float32]:
        """A copy in host memory; PyTorch waits for the current stream."""
        copied = torch.empty_like(buffer.tensor[:rows], dtype=torch.float32, device="cpu")
        return copied.copy_(buffer.tensor[:rows]).numpy()

    def captured(self, enqueue: Enqueue, capturable: Capturable) -> Callable[[], None] | None:
        """One enqueue, then the capture of another, both on a stream of their own.

        The first enqueue after a change of shapes sets things up that cannot be captured. `thread_local`: CUDA
        work of other threads, a camera's decoder perhaps, must not end the capture.
        """
        if self._cuda is None:
            return None
        stream = self._cuda.Stream(self.device)
        stream.wait_stream(self._cuda.current_stream(self.device))
        enqueue(int(stream.cuda_stream))
        stream.synchronize()
        if not capturable(int(stream.cuda_stream)):
            return None
        graph = self._cuda.CUDAGraph()
        with self._cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            enqueue(int(stream.cuda_stream))
        replay: Callable[[], None] = graph.replay
        return replay

    def free_bytes(self) -> int | None:
        """What the driver says, and what PyTorch's allocator holds and does not use."""
        if self._cuda is None:
            return None
        free, _ = self._cuda.mem_get_info(self.device)
        unused = self._cuda.memory_reserved(self.device) - self._cuda.memory_allocated(self.device)
        return int(free + unused)

    def close(self) -> None:
        """PyTorch gives its memory back by itself."""


def cuda_memory() -> TorchMemory:
    """PyTorch's memory on the current GPU.

    Raises:
        EngineError: PyTorch sees none.
    """
    if not torch.cuda.is_available():
        raise EngineError(
            f"PyTorch {torch.__version__} finds no NVIDIA GPU, and a plan runs on no other. Look at the driver "
            "(nvidia-smi) and at PyTorch's CUDA build, or use --engine ort."
        )
    return TorchMemory(torch.device("cuda", torch.cuda.current_device()), cuda=torch.cuda)


def _tensor_of(shape: tuple[int, ...]) -> str:
    return f"a tensor of {' x '.join(map(str, shape))}"


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Translate what PyTorch raises where memory for `what` does not suffice."""
    try:
        yield
    except RuntimeError as exc:  # also torch.OutOfMemoryError
        raise EngineError(
            f"no memory for {what}: {str(exc).splitlines()[0]} Close what else "
            "uses the GPU, or run a smaller batch."
        ) from exc
