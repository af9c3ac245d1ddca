"""Open a plan of an artifact on the GPU that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from moase_edge.artifact.cache import Cache, cache_folder
from moase_edge.artifact.manifest import EngineEntry
from moase_edge.artifact.store import Artifact
from moase_edge.engines.base import Engine
from moase_edge.engines.plan_parity import check_first_load, refuse_failed
from moase_edge.engines.tensorrt.device import Device, find_device
from moase_edge.engines.tensorrt.executor import PlanRunner, TensorRtEngine, TensorRtTorchEngine
from moase_edge.engines.tensorrt.flavour import find_flavour
from moase_edge.engines.tensorrt.memory import DeviceMemory
from moase_edge.engines.tensorrt.plan import load_plan, refuse_misfit
from moase_edge.engines.tensorrt.runtime_cache import runtime_cache
from moase_edge.errors import EngineError


def open_plan(artifact: Artifact, entry: EngineEntry, *, graphs: bool = True, checked: bool = True) -> Engine:
    """Open a plan, in PyTorch's memory where PyTorch can be imported, else in pycuda's.

    Args:
        entry: of the plan, from the artifact's manifest.
        graphs: capture CUDA graphs, where the memory can.
        checked: refuse a plan that fails parity.

    Raises:
        ArtifactError: the manifest names no such file.
        EngineError: the flavour, a GPU, or PyTorch and pycuda are missing; the plan does not fit this device, is
            damaged, or device memory does not suffice.
        GateError: its outputs are not those that the artifact stores, as the first load on this device finds.
    """
    flavour, path = find_flavour(entry.runtime), artifact.path(entry.file)
    device, kept = require_device(), Cache(cache_folder())
    refuse_misfit(entry, flavour, device, artifact.folder)
    checked_on = {"gpu": device.gpu, flavour.name: flavour.version, **device.versions}
    if checked:
        refuse_failed(artifact, entry, kept, checked_on)
    memory, engine_of = _memory()
    try:
        built = entry.built_for
        plan = load_plan(
            path,
            flavour,
            folder=artifact.folder,
            free_bytes=memory.free_bytes,
            cache=runtime_cache(kept, artifact.manifest.files[entry.file], flavour, device),
            host_code=built is not None and built.version_compatible,
        )
        runner = PlanRunner(plan, memory, graphs=graphs)
    except BaseException:
        memory.close()
        raise
    engine = engine_of(runner, f"{flavour.title} ({device.gpu}, {entry.precision})", precision=entry.precision)
    return _checked(engine, runner, artifact, entry, kept, checked_on) if checked else engine


def _checked(
    engine: Engine,
    runner: PlanRunner,
    artifact: Artifact,
    entry: EngineEntry,
    kept: Cache,
    checked_on: Mapping[str, object],
) -> Engine:
    """The engine with its memory taken and its parity held; closed where either fails."""
    try:
        runner.prepare()
        check_first_load(engine, artifact, entry, kept, checked_on)
    except BaseException:
        engine.close()
        raise
    return engine


def require_device() -> Device:
    """The GPU at hand.

    Raises:
        EngineError: there is none.
    """
    device = find_device()
    if device is None:
        raise EngineError(
            "no NVIDIA GPU is found, and a plan runs on nothing else. Look at the driver (nvidia-smi), or use "
            "--engine ort."
        )
    return device


def _memory() -> tuple[DeviceMemory, Callable[..., Engine]]:
    """PyTorch's, or pycuda's where PyTorch cannot be imported, and the engine over it."""
    try:
        from moase_edge.engines.tensorrt.torch_memory import cuda_memory
    except (ImportError, OSError):
        from moase_edge.engines.tensorrt.pycuda_memory import pycuda_memory

        return pycuda_memory(), TensorRtEngine
    memory = cuda_memory()
    return memory, partial(TensorRtTorchEngine, device=str(memory.device))
