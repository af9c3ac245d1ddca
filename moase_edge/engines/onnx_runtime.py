"""ONNX Runtime as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision
from moase_edge.artifact.specs import SHIFT
from moase_edge.engines.base import Tensors
from moase_edge.engines.shift import fitting_shift
from moase_edge.errors import ConfigError, EngineError

Provider = Literal["cpu", "cuda", "tensorrt"]
PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
ProviderOptions = Mapping[Provider, Mapping[str, str]]
# What takes the nodes that a provider leaves, besides the CPU, which ONNX Runtime always adds.
BESIDE: dict[Provider, tuple[Provider, ...]] = {"cpu": (), "cuda": (), "tensorrt": ("cuda",)}


class OnnxRuntimeEngine:
    """Runs an ONNX file in ONNX Runtime.

    A provider that fails to load makes ONNX Runtime fall back to the CPU without an error; here it is refused.

    Args:
        model: path of the ONNX file, or its bytes.
        provider: where it shall run.
        threads: of one operator; None leaves the choice to ONNX Runtime.
        precision: that the file computes in.

    Raises:
        ConfigError: less than one thread.
        EngineError: ONNX Runtime is missing, refuses the model, or did not take the provider.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        provider: Provider = "cpu",
        threads: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        session = open_session(model, provider=provider, threads=threads)
        self._session: Any = session
        self.precision = precision
        self._input = session.get_inputs()[0]
        self._blocks = blocks_of(session)
        self._outputs = [output.name for output in session.get_outputs()]
        self.provider = provider
        self.name = title_of(provider, f"{threads} threads" if threads is not None else None)

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        if self._session is None:
            raise EngineError("this engine was closed. Open the artifact again.")
        fed = {self._input.name: images}
        fitting = fitting_shift(shift, self._blocks, len(images))
        if fitting is not None:
            fed[SHIFT] = fitting
        try:
            values = self._session.run(self._outputs, fed)
        except Exception as exc:  # ONNX Runtime raises many unrelated types
            raise EngineError(
                f"the engine failed on a batch of shape {images.shape}, {images.dtype}; "
                f"it expects {self._input.shape}, float32: {_first_line(exc)}"
            ) from exc
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Release the session."""
        self._session = None


def open_session(
    model: Path | bytes,
    *,
    provider: Provider,
    threads: int | None = None,
    options: ProviderOptions | None = None,
) -> Any:
    """A session of ONNX Runtime on one provider, refused where it fell back to another.

    Args:
        model, provider, threads: see `OnnxRuntimeEngine`.
        options: of the provider, and of what takes the nodes that it leaves.

    Raises:
        ConfigError, EngineError: see `OnnxRuntimeEngine`.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"an engine needs a thread at least, got {threads}. Leave it out for a good number.")
    ort = _import_onnxruntime()
    _refuse_fallback(ort.get_available_providers(), provider)
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    if threads is not None:
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
    given = options or {}
    asked = [(PROVIDERS[name], dict(given.get(name, {}))) for name in (provider, *BESIDE[provider])]
    try:
        session = ort.InferenceSession(_source(model), settings, providers=asked)
    except Exception as exc:  # ONNX Runtime raises many unrelated types
        raise EngineError(
            f"ONNX Runtime {ort.__version__} cannot load {_title(model)}: {_first_line(exc)}. "
            "Export again, or update onnxruntime."
        ) from exc
    _refuse_fallback(session.get_providers(), provider)
    return session


def blocks_of(session: Any) -> tuple[int, int] | None:
    """(L, C) of a graph that can be steered, None of another one."""
    return next((tuple(entry.shape[1:]) for entry in session.get_inputs() if entry.name == SHIFT), None)


def title_of(provider: Provider, *more: str | None) -> str:
    """What runs it and where: "ONNX Runtime 1.32 (CPU, 2 threads)"."""
    where = ", ".join(filter(None, (provider.upper(), *more)))
    return f"ONNX Runtime {_import_onnxruntime().__version__} ({where})"


def available_providers() -> set[Provider]:
    """Those that this build of ONNX Runtime has; their libraries or a GPU may still be missing."""
    there = _import_onnxruntime().get_available_providers()
    return {name for name, wanted in PROVIDERS.items() if wanted in there}


def require_onnxruntime() -> None:
    """Say now, rather than after long work, that there is nothing to run an engine with.

    Raises:
        EngineError: ONNX Runtime is missing.
    """
    _import_onnxruntime()


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as exc:
        raise EngineError(
            "onnxruntime is not installed: `pip install 'moase-edge[cpu]'`, or `[gpu]` for NVIDIA GPUs "
            "(one of them, never both)."
        ) from exc
    return onnxruntime


def _refuse_fallback(taken: Sequence[str], provider: Provider) -> None:
    wanted = PROVIDERS[provider]
    if wanted not in taken:
        raise EngineError(
            f"ONNX Runtime was asked for {wanted} and has only {', '.join(taken)}: its libraries or a GPU are "
            "missing, or onnxruntime (CPU) is installed over onnxruntime-gpu. Repair that, or use --engine ort."
        )


def _source(model: Path | bytes) -> str | bytes:
    """What ONNX Runtime loads: the path, or the content of a file whose path is no UTF-8, which it cannot name."""
    if isinstance(model, bytes):
        return model
    try:
        str(model).encode()
    except UnicodeEncodeError:
        return model.read_bytes()
    return str(model)


def _title(model: Path | bytes) -> str:
    return f"a model of {len(model)} bytes" if isinstance(model, bytes) else str(model)


def _first_line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
