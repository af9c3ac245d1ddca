"""What TensorRT-RTX compiles for the GPU at hand at its first run, kept for the next start."""

from __future__ import annotations

import logging
from typing import Any

from moase_edge.artifact.cache import Cache
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.flavour import Flavour

logger = logging.getLogger(__name__)

_KIND = "runtime"


class RuntimeCache:
    """Makes execution contexts that share a cache of compiled kernels.

    TensorRT-RTX itself refuses one of another version, GPU or driver; then all is compiled anew. Kernels of a
    batch range are compiled for each batch at its first run, and not in the background after it: a CUDA graph that
    is captured then would keep the slower ones that stand in for them.

    Args:
        trt: the Python module.
        kept: where it lies between runs.
        facts: of the plan, version, GPU and driver that it belongs to.
    """

    def __init__(self, trt: Any, kept: Cache, facts: dict[str, str]) -> None:
        self._trt, self._kept, self._facts = trt, kept, facts
        self._cache: Any = None
        self._read = b""

    def context_of(self, engine: Any) -> Any:
        """A new execution context of a deserialised engine, or what TensorRT returns for none."""
        config = engine.create_runtime_config()
        strategies = self._trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            self._fill()
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def _fill(self) -> None:
        content = self._kept.load(_KIND, self._facts)
        if content is None:
            return
        if self._cache.deserialize(content):
            self._read = content
        else:
            logger.info("TensorRT-RTX does not take the kernels that it compiled before; it compiles them anew")

    def write(self) -> None:
        """Keep the cache if it has changed; where that fails, the next start takes longer, and nothing else."""
        content = bytes(memoryview(self._cache.serialize())) if self._cache is not None else b""
        if content and content != self._read:
            self._kept.store(_KIND, self._facts, content)
            self._read = content


def runtime_cache(folder: Cache, digest: str, flavour: Flavour, device: Device) -> RuntimeCache | None:
    """Of a plan with this sha256; None for TensorRT proper, which compiles when it builds."""
    if flavour.name != "tensorrt-rtx":
        return None
    facts = {"plan": digest, "version": flavour.version, "gpu": device.gpu, **device.versions}
    return RuntimeCache(flavour.module, folder, facts)
