"""Stand-ins of `torch.cuda` and `pycuda.driver` over host memory: they note what is asked of them, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class Stream:
    """A stream with a number; work on it is done at once."""

    def __init__(self, cuda: Any, number: int) -> None:
        self._cuda, self.cuda_stream = cuda, number

    def wait_stream(self, other: Stream) -> None:
        self._cuda.log.append(f"{self.cuda_stream} waits for {other.cuda_stream}")

    def synchronize(self) -> None:
        self._cuda.log.append(f"synchronize {self.cuda_stream}")


class Graph:
    """A captured graph; replaying it runs again what was enqueued during capture."""

    def __init__(self) -> None:
        self.work: list[Any] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        for run in self.work:
            run()


class TorchCuda:
    """`torch.cuda`, as far as an executor goes."""

    def __init__(self, *, fails: bool = False) -> None:
        self.log: list[str] = []
        self.graphs: list[Graph] = []
        self._current = Stream(self, 7)
        self._fails = fails

    def current_stream(self, device: Any = None) -> Stream:
        return self._current

    def Stream(self, device: Any = None, priority: int = 0) -> Stream:  # noqa: N802 - PyTorch's names
        return Stream(self, 11)

    def CUDAGraph(self) -> Graph:  # noqa: N802
        self.graphs.append(Graph())
        return self.graphs[-1]

    @contextmanager
    def graph(self, graph: Graph, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        self.log.append(f"capture on {stream.cuda_stream}, {capture_error_mode}")
        if self._fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        yield
        self.log.append("captured")


class DriverError(Exception):
    """`pycuda.driver.Error`."""


class DriverMemoryError(DriverError):
    """`pycuda.driver.MemoryError`."""


class Driver:
    """`pycuda.driver`: device memory is host memory, copies are done at once."""

    Error, MemoryError = DriverError, DriverMemoryError

    def __init__(self, *, gpus: int = 1, bytes_free: int = 2**30) -> None:
        self.log: list[str] = []
        self._gpus, self._free = gpus, bytes_free

    def init(self) -> None:
        self.log.append("init")

    def Device(self, number: int) -> Any:  # noqa: N802 - pycuda's names
        if number >= self._gpus:
            raise DriverError("cuDeviceGet failed: invalid device ordinal")
        return _Device(self)

    def Stream(self) -> Any:  # noqa: N802
        return _DriverStream(self)

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def mem_alloc(self, size: int) -> Any:
        if size > self._free:
            raise DriverMemoryError("cuMemAlloc failed: out of memory")
        self._free -= size
        return _Allocation(size)

    def memcpy_htod_async(self, dest: Any, src: Any, stream: Any = None) -> None:
        dest.memory[:] = src.reshape(-1).view(np.uint8)

    def memcpy_dtoh_async(self, dest: Any, src: Any, stream: Any = None) -> None:
        dest[:] = src.memory.view(dest.dtype).reshape(dest.shape)

    def mem_get_info(self) -> tuple[int, int]:
        return self._free, 2**33


class _Device:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def retain_primary_context(self) -> Any:
        self._driver.log.append("retain_primary_context")
        return _Context(self._driver)


class _Context:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def push(self) -> None:
        self._driver.log.append("push")

    def pop(self) -> None:
        self._driver.log.append("pop")


class _DriverStream:
    handle = 5

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def synchronize(self) -> None:
        self._driver.log.append("synchronize")


class _Allocation:
    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, np.uint8)

    def __int__(self) -> int:
        return int(self.memory.ctypes.data)
