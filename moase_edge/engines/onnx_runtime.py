"""ONNX Runtime as an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.specs import SHIFT
from moase_edge.engines.base import Tensors
from moase_edge.engines.shift import fitting_shift
from moase_edge.errors import ConfigError, EngineError

Provider = Literal["cpu", "cuda"]
PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeEngine:
    """Runs an ONNX file in ONNX Runtime.

    A provider that fails to load makes ONNX Runtime fall back to the CPU without an error; here it is refused.

    Args:
        model: path of the ONNX file, or its bytes.
        provider: where it shall run.
        threads: of one operator; None leaves the choice to ONNX Runtime.

    Raises:
        ConfigError: less than one thread.
        EngineError: ONNX Runtime is missing, refuses the model, or did not take the provider.
    """

    def __init__(self, model: Path | bytes, *, provider: Provider = "cpu", threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"an engine needs a thread at least, got {threads}. Leave it out for a good number.")
        ort = _import_onnxruntime()
        _refuse_fallback(ort.get_available_providers(), provider)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        try:
            session = ort.InferenceSession(_source(model), options, providers=[PROVIDERS[provider]])
        except Exception as exc:  # ONNX Runtime raises many unrelated types
            raise EngineError(
                f"ONNX Runtime {ort.__version__} cannot load {_title(model)}: {_first_line(exc)}. "
                "Export again, or update onnxruntime."
            ) from exc
        _refuse_fallback(session.get_providers(), provider)
        self._session: Any = session
        self._input = session.get_inputs()[0]
        shifts = [tuple(entry.shape[1:]) for entry in session.get_inputs() if entry.name == SHIFT]
        self._blocks: tuple[int, int] | None = shifts[0] if shifts else None
        self._outputs = [output.name for output in session.get_outputs()]
        where = f"{provider.upper()}, {threads} threads" if threads is not None else provider.upper()
        self.name = f"ONNX Runtime {ort.__version__} ({where})"

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


def cuda_available() -> bool:
    """Whether this build of ONNX Runtime has a CUDA provider; a GPU may still be missing."""
    return PROVIDERS["cuda"] in _import_onnxruntime().get_available_providers()


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
