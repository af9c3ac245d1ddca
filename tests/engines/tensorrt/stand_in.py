"""A stand-in of TensorRT's Python API whose plans are ONNX files: it runs them at the addresses it is given.

Names and signatures are those of `tensorrt` 10 and 11 and `tensorrt_rtx`; `test_api.py` holds that.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

MAGIC = b"plan of the stand-in:"


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT64 = 2


class DynamicShapesKernelSpecializationStrategy(Enum):
    LAZY = 0
    EAGER = 1


class ILogger:
    """Base class of loggers."""

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError


def plan_of(graph: bytes, *, smallest: int = 1, largest: int = 1, half: bool = False) -> bytes:
    """A plan for batches from `smallest` to `largest`; `half`: taps and logits are handed over in float16."""
    return MAGIC + bytes([smallest, largest, half]) + graph


class Module:
    """What `import tensorrt` gives. Everything that is called is counted in `calls`.

    Args:
        version: of the flavour.
        rtx: whether it has what TensorRT-RTX alone has.
        memory: whether contexts can be made.
        capturable: what contexts say of a stream that is not the default one.
    """

    def __init__(
        self, version: str = "10.9.0", *, rtx: bool = False, memory: bool = True, capturable: bool = True
    ) -> None:
        self.__version__ = version
        self.ILogger, self.TensorIOMode, self.DataType = ILogger, TensorIOMode, DataType
        self.rtx, self.memory, self.capturable = rtx, memory, capturable
        if rtx:
            self.DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
        self.calls: Counter[str] = Counter()
        self.streams: list[int] = []
        self.caches: list[Cache] = []
        self.runs = True

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802 - TensorRT's name
        return Runtime(self, logger)


class Runtime:
    def __init__(self, module: Module, logger: Any) -> None:
        self._module, self._logger = module, logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        self._module.calls["deserialize_cuda_engine"] += 1
        self._module.calls["host code allowed"] += self.engine_host_code_allowed
        if not serialized_engine.startswith(MAGIC):
            self._error("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magicTag is wrong)")
            return None
        smallest, largest, half = serialized_engine[len(MAGIC) : len(MAGIC) + 3]
        try:
            session = onnxruntime.InferenceSession(
                serialized_engine[len(MAGIC) + 3 :], providers=["CPUExecutionProvider"]
            )
        except Exception:
            self._error("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (it ends too early)")
            return None
        return Engine(self._module, session, (smallest, largest), bool(half), self._error)

    def _error(self, message: str) -> None:
        self._logger.log(SimpleNamespace(name="ERROR"), message)


class Engine:
    """ICudaEngine."""

    def __init__(self, module: Module, session: Any, batch: tuple[int, int], half: bool, error: Any) -> None:
        self.module, self.session, self.batch, self.half, self.error = module, session, batch, half, error
        self._inputs = {entry.name: entry for entry in session.get_inputs()}
        self._ports = {**self._inputs, **{entry.name: entry for entry in session.get_outputs()}}

    @property
    def num_io_tensors(self) -> int:
        return len(self._ports)

    def get_tensor_name(self, index: int) -> str:
        return list(self._ports)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.HALF if self.half and name not in self._inputs else DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        smallest, largest = self.batch
        return (largest if smallest == largest else -1, *self._ports[name].shape[1:])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        rest = tuple(self._ports[name].shape[1:])
        smallest, largest = self.batch
        return [(smallest, *rest), (smallest, *rest), (largest, *rest)]

    def create_runtime_config(self) -> RuntimeConfig:
        assert self.module.rtx, "TensorRT proper has no runtime cache"
        return RuntimeConfig(self.module)

    def create_execution_context(self, runtime_config: RuntimeConfig | None = None) -> Context | None:
        self.module.calls["create_execution_context"] += 1
        if not self.module.memory:
            self.error("IExecutionContext: Error Code 2: OutOfMemory (Requested size was 1048576 bytes)")
            return None
        return Context(self, runtime_config)


class RuntimeConfig:
    """IRuntimeConfig of TensorRT-RTX."""

    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def __init__(self, module: Module) -> None:
        self._module = module
        self.cache: Cache | None = None

    def create_runtime_cache(self) -> Cache:
        self._module.caches.append(Cache())
        return self._module.caches[-1]

    def set_runtime_cache(self, cache: Cache) -> bool:
        self.cache = cache
        return True


class Cache:
    """IRuntimeCache: remembers for which batches kernels were compiled into it."""

    def __init__(self) -> None:
        self.batches: set[int] = set()
        self.taken: bytes | None = None

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"compiled "):
            return False
        self.taken, self.batches = blob, set(map(int, blob.split()[1:]))
        return True

    def serialize(self) -> bytes:
        return " ".join(["compiled", *map(str, sorted(self.batches))]).encode()


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine, config: RuntimeConfig | None) -> None:
        self._engine, self._config = engine, config
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._runs: Counter[int] = Counter()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        smallest, largest = self._engine.batch
        return smallest <= shape[0] <= largest

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._engine.module.calls["set_tensor_address"] += 1
        self._addresses[name] = memory
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        return stream != 0 and self._engine.module.capturable

    def execute_async_v3(self, stream_handle: int) -> bool:
        module = self._engine.module
        module.calls["execute_async_v3"] += 1
        module.streams.append(stream_handle)
        if not module.runs:
            self._engine.error("IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (launch failed)")
            return False
        if self._config is not None:
            self._compile(self._config)
        fed = {name: _at(self._addresses[name], shape, np.float32).copy() for name, shape in self._shapes.items()}
        outputs = [entry.name for entry in self._engine.session.get_outputs()]
        for name, value in zip(outputs, self._engine.session.run(outputs, fed), strict=True):
            element = np.float16 if self._engine.half else np.float32
            _at(self._addresses[name], value.shape, element)[:] = value
        return True

    def _compile(self, config: RuntimeConfig) -> None:
        """One kernel a batch; for a range at its first run if that is asked for, else at its second."""
        batch, (smallest, largest) = next(iter(self._shapes.values()))[0], self._engine.batch
        eager = config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
        self._runs[batch] += 1
        if config.cache is not None and (eager or smallest == largest or self._runs[batch] > 1):
            config.cache.batches.add(batch)


def _at(address: int, shape: tuple[int, ...], element: Any) -> Any:
    """The array that lies at an address."""
    size = int(np.prod(shape)) * np.dtype(element).itemsize
    memory = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, dtype=element).reshape(shape)
