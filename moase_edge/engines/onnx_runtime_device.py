"""ONNX Runtime on a GPU, with PyTorch's tensors bound to its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moase_edge.artifact.manifest import Precision
from moase_edge.artifact.specs import SHIFT
from moase_edge.engines.base import Tensors
from moase_edge.engines.onnx_runtime import BESIDE, Provider, ProviderOptions, blocks_of, open_session, title_of
from moase_edge.engines.shift import fitting_shift
from moase_edge.engines.tensorrt.torch_memory import enough_memory
from moase_edge.errors import EngineError

# Sets of buffers that are handed out in turn, and one for answers that go to the host.
_EVEN, _ODD, _HOST = 0, 1, 2
_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
_ELEMENTS = {torch.float32: np.float32, torch.float16: np.float16}
# ONNX Runtime has TensorRT 10 choose types: it refuses halves and Q/DQ whose type it was not allowed
# (onnxruntime 13381), and may then take that type where the graph says float32, which parity shows.
_TYPE_ALLOWED: dict[Precision, str] = {
    "fp16": "trt_fp16_enable",
    "bf16": "trt_bf16_enable",
    "int8": "trt_int8_enable",
}


class _Bound:
    """Tensors of one batch, bound once; CUDA graphs replay on the same addresses."""

    def __init__(self, session: Any, batch: int, device: torch.device, *, cuda: bool) -> None:
        self.binding = session.io_binding()
        self.inputs = {entry.name: _tensor(entry, batch, device) for entry in session.get_inputs()}
        self.outputs = {entry.name: _tensor(entry, batch, device) for entry in session.get_outputs()}
        self.staged = {name: torch.zeros_like(t, device="cpu", pin_memory=cuda) for name, t in self.inputs.items()}
        for tensors, bind in ((self.inputs, "bind_input"), (self.outputs, "bind_output")):
            for name, tensor in tensors.items():
                shape, element = tuple(tensor.shape), _ELEMENTS[tensor.dtype]
                where = (device.type, device.index or 0)
                getattr(self.binding, bind)(name, *where, element, shape, tensor.data_ptr())

    def upload(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Page-locked memory is free again when a run returns, because ONNX Runtime waits for its stream."""
        for name, array in rows.items():
            self.staged[name].copy_(torch.from_numpy(array))
            self.inputs[name].copy_(self.staged[name], non_blocking=True)


class OnnxRuntimeDeviceEngine:
    """Runs an ONNX file in ONNX Runtime, its tensors bound by address and left where they are.

    Args:
        model: path of the ONNX file, or its bytes.
        provider: "cuda" or "tensorrt"; "cpu" binds tensors in host memory, for tests.
        device: where the tensors live.
        precision: that the file computes in.
        graphs: let ONNX Runtime capture a CUDA graph for each set of buffers; its TensorRT provider keeps one
            alone, so that there is one set, whose answers are copied.
        cache: folder in which the TensorRT provider keeps what it builds.

    Raises:
        EngineError: ONNX Runtime is missing, refuses the model, or did not take the provider; or memory for the
            tensors of one frame does not suffice.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        provider: Provider,
        device: torch.device,
        precision: Precision = "fp32",
        graphs: bool = False,
        cache: Path | None = None,
    ) -> None:
        self._cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._cuda else None  # type: ignore[no-untyped-call]
        self._ready = torch.cuda.Event() if self._cuda else None  # type: ignore[no-untyped-call]
        stream = None if self._stream is None else int(self._stream.cuda_stream)
        options = provider_options(
            provider,
            device=device.index or 0,
            stream=stream,
            graphs=graphs,
            cache=cache,
            precision=precision,
        )
        self._session: Any = open_session(model, provider=provider, options=options)
        self._blocks = blocks_of(self._session)
        self._graphs, self._one_graph = graphs, graphs and provider == "tensorrt"
        self._bound: dict[tuple[int, int], _Bound] = {}
        self._turn = _EVEN
        self._on = device
        self.precision = precision
        self.device = str(device)
        self.name = title_of(provider, "CUDA graph" if graphs else None)
        if not self._one_graph:  # whose one batch is that of its first run
            self._buffers(_EVEN, 1)

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        bound = self._run(_HOST, images, shift)
        return {name: _on_host(tensor) for name, tensor in bound.outputs.items()}

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        """The same, left on the device (see `DeviceEngine`); ONNX Runtime waits for its end."""
        self._turn = _ODD if self._turn == _EVEN else _EVEN
        bound = self._run(self._turn, images, shift)
        found = {name: tensor.float() for name, tensor in bound.outputs.items()}
        return {name: tensor.clone() for name, tensor in found.items()} if self._one_graph else found

    def close(self) -> None:
        """Release session and buffers."""
        self._bound.clear()
        self._session = None

    def _run(self, turn: int, images: NDArray[np.float32], shift: NDArray[np.float32] | None) -> _Bound:
        if self._session is None:
            raise EngineError("this engine was closed. Open the artifact again.")
        rows = self._fitting(images, shift)
        key, bound = self._buffers(turn, len(images))
        try:
            self._run_bound(bound, rows, list(self._bound).index(key))
        except EngineError:
            raise
        except Exception as exc:  # ONNX Runtime raises many unrelated types
            raise EngineError(f"the engine failed on a batch of shape {images.shape}: {exc}") from exc
        return bound

    def _buffers(self, turn: int, batch: int) -> tuple[tuple[int, int], _Bound]:
        """A set and its name, made at its first use."""
        key = (_EVEN if self._one_graph else turn, batch)
        if key not in self._bound:
            if self._one_graph and self._bound:
                raise EngineError(
                    "ONNX Runtime's TensorRT provider keeps one CUDA graph, here of a batch of "
                    f"{next(iter(self._bound))[1]}; got one of {batch}. Open it without CUDA graphs."
                )
            with enough_memory(f"the tensors of {batch} frames"):
                self._bound[key] = _Bound(self._session, batch, self._on, cuda=self._cuda)
        return key, self._bound[key]

    def _run_bound(self, bound: _Bound, rows: Mapping[str, NDArray[np.float32]], graph: int) -> None:
        options = self._run_options(graph)
        if self._stream is None or self._ready is None:
            bound.upload(rows)
            self._session.run_with_iobinding(bound.binding, options)
            return
        # What reads these buffers on PyTorch's stream comes first; ONNX Runtime itself waits for its end.
        self._ready.record()
        self._stream.wait_event(self._ready)
        with torch.cuda.stream(self._stream):
            bound.upload(rows)
        self._session.run_with_iobinding(bound.binding, options)

    def _run_options(self, graph: int) -> Any:
        """One CUDA graph for each set of buffers, told apart by number."""
        if not self._graphs:
            return None
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph + 1))
        return options

    def _fitting(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None
    ) -> dict[str, NDArray[np.float32]]:
        entry = next(entry for entry in self._session.get_inputs() if entry.name != SHIFT)
        expected = tuple(entry.shape[1:])
        if images.ndim != 4 or images.shape[1:] != expected or images.dtype != np.float32:
            raise EngineError(
                f"the engine failed on a batch of shape {images.shape}, {images.dtype}; "
                f"it expects {entry.shape}, float32. Prepare the frames as the manifest says."
            )
        fitting = fitting_shift(shift, self._blocks, len(images))
        return {entry.name: images} if fitting is None else {entry.name: images, SHIFT: fitting}


def provider_options(
    provider: Provider,
    *,
    device: int = 0,
    stream: int | None,
    graphs: bool,
    cache: Path | None,
    precision: Precision = "fp32",
) -> ProviderOptions:
    """Options of a provider, and of what takes the nodes that it leaves, as ONNX Runtime names them.

    Args:
        device: number of the GPU.
        stream: handle of the CUDA stream to run on; None leaves it to ONNX Runtime.
        precision: of the graph.
    """
    allowed = {_TYPE_ALLOWED[precision]: "1"} if precision in _TYPE_ALLOWED else {}
    common = {} if stream is None else {"device_id": str(device), "user_compute_stream": str(stream)}
    kept = {} if cache is None else {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache)}
    of: dict[Provider, dict[str, str]] = {
        "cpu": {},
        "cuda": {**common, **({"enable_cuda_graph": "1"} if graphs and provider == "cuda" else {})},
        "tensorrt": {**common, **kept, **allowed, **({"trt_cuda_graph_enable": "1"} if graphs else {})},
    }
    return {name: of[name] for name in (provider, *BESIDE[provider])}


def _tensor(entry: Any, batch: int, device: torch.device) -> Tensor:
    if entry.type not in _TYPES:
        raise EngineError(
            f"{entry.name} has type {entry.type}; expected one of {', '.join(_TYPES)}. Export again."
        )
    return torch.zeros((batch, *entry.shape[1:]), dtype=_TYPES[entry.type], device=device)


def _on_host(tensor: Tensor) -> NDArray[np.float32]:
    """A copy that the caller owns, of a buffer that the next run overwrites."""
    return torch.empty_like(tensor, dtype=torch.float32, device="cpu").copy_(tensor).numpy()
