"""What can run a backbone here: ONNX Runtime and its providers, TensorRT, a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Set

from moase_edge.artifact.manifest import EngineRuntime
from moase_edge.engines.onnx_runtime import PROVIDERS, Provider, available_providers
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.flavour import find_flavour
from moase_edge.errors import EngineError
from moase_edge.runtime.doctor.finding import Finding
from moase_edge.runtime.doctor.packages import installed

PART = "engines"
_FLAVOURS: tuple[EngineRuntime, ...] = ("tensorrt", "tensorrt-rtx")


def look_at_engines(device: Device | None) -> Iterator[Finding]:
    """GPU, ONNX Runtime, TensorRT, and what `run` would take of them.

    Args:
        device: the GPU; None for none.
    """
    yield gpu(device)
    providers = _providers()
    yield onnx_runtime(providers, installed("onnxruntime-gpu") or installed("onnxruntime"), device)
    for name in _FLAVOURS:
        yield flavour(name, device)


def gpu(device: Device | None) -> Finding:
    """The GPU and its driver."""
    if device is None:
        return Finding(PART, "GPU", "none, or no driver", "note", "everything runs on the processor.")
    versions = ", ".join(f"{name} {version}" for name, version in device.versions.items())
    return Finding(PART, "GPU", f"{device.gpu} ({device.target}), {device.memory_mib} MiB; {versions}")


def _providers() -> Set[Provider] | None:
    try:
        return available_providers()
    except EngineError:
        return None


def onnx_runtime(providers: Set[Provider] | None, version: str | None, device: Device | None) -> Finding:
    """ONNX Runtime and the providers it was built with.

    Args:
        providers: None where it cannot be imported.
    """
    if providers is None:
        extra = "gpu" if device is not None else "cpu"
        return Finding(
            PART,
            "ONNX Runtime",
            "not installed",
            "missing",
            f"it runs backbone.onnx: `pip install 'moase-edge[{extra}]'`",
        )
    found = f"{version or 'of this system'}: {', '.join(name for name in PROVIDERS if name in providers)}"
    if device is not None and "cuda" not in providers:
        return Finding(
            PART,
            "ONNX Runtime",
            found,
            "bad",
            "this build cannot use the GPU: `pip uninstall onnxruntime`, then `pip install 'moase-edge[gpu]'`",
        )
    return Finding(PART, "ONNX Runtime", found)


def flavour(name: EngineRuntime, device: Device | None) -> Finding:
    """One flavour of TensorRT."""
    try:
        return Finding(PART, name, find_flavour(name).version)
    except EngineError as exc:
        # Without a GPU it would only build plans for other machines.
        return Finding(PART, name, "not usable", "note" if device is None else "missing", str(exc))
