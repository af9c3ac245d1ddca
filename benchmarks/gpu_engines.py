"""Every engine that a machine could run an artifact by, PyTorch eager and compiled beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.gpu_subject import PRECISIONS, Subject
from moase_edge.artifact.manifest import EngineRuntime, Precision
from moase_edge.config.precision import GraphPrecision
from moase_edge.engines.base import Engine
from moase_edge.engines.choose import GRAPH_RUNNERS, Runner
from moase_edge.engines.onnx_runtime import available_providers
from moase_edge.engines.onnx_runtime_device import OnnxRuntimeDeviceEngine
from moase_edge.engines.shift import fitting_shift
from moase_edge.engines.tensorrt.device import find_device
from moase_edge.engines.tensorrt.flavour import find_flavour
from moase_edge.engines.tensorrt.open import open_plan
from moase_edge.errors import EngineError

GPU_RUNNERS: tuple[Runner, ...] = ("tensorrt", "tensorrt-rtx", "ort-cuda", "ort-tensorrt")
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Place:
    """What engines are run on.

    Attributes:
        device: PyTorch's.
        runners: ways to run an artifact that there are.
        graphs: whether CUDA graphs are captured; each way once without and, on a GPU, once with.
        target: compute capability of the GPU; None without one.
        lacking: why other ways are not there.
    """

    device: torch.device
    runners: tuple[Runner, ...]
    graphs: tuple[bool, ...] = (False,)
    target: str | None = None
    lacking: Mapping[str, str] = field(default_factory=dict)


def find_place(name: str) -> Place:
    """The device that was asked for, and what can be had on it.

    Raises:
        EngineError: it is a GPU and there is none.
    """
    if name == "cpu":
        return Place(torch.device("cpu"), ("ort",))
    gpu = find_device()
    if gpu is None or not torch.cuda.is_available():
        raise EngineError(
            "this benchmark measures engines on an NVIDIA GPU, and this machine has none that PyTorch sees. Run "
            "it on one that has; --device cpu runs the same code on a CPU, and measures nothing of a GPU."
        )
    lacking = {runner: why for runner in GPU_RUNNERS if (why := _why_not(runner)) is not None}
    return Place(
        torch.device("cuda", torch.cuda.current_device()),
        tuple(runner for runner in GPU_RUNNERS if runner not in lacking),
        graphs=(False, True),
        target=gpu.target,
        lacking=lacking,
    )


def _why_not(runner: Runner) -> str | None:
    """What a way to run an artifact lacks here; None where nothing."""
    try:
        if runner in GRAPH_RUNNERS:
            there = GRAPH_RUNNERS[runner] in available_providers()
            return None if there else f"this ONNX Runtime has no {GRAPH_RUNNERS[runner]} provider"
        find_flavour(cast(EngineRuntime, runner))
    except EngineError as exc:
        return str(exc)
    return None


class ModuleEngine:
    """A module in PyTorch whose outputs stay on its device; a new tensor each, so nothing is overwritten.

    Args:
        module: takes images, or images and a shift; taken over.
        outputs: names of what it returns, handed on as float32.
        blocks: (L, C) of a module that takes a shift.
        precision: of weights and arithmetic.
        compiled: by `torch.compile`.
        graphs: have the compiler capture CUDA graphs.
    """

    def __init__(
        self,
        module: nn.Module,
        outputs: tuple[str, ...],
        *,
        device: torch.device,
        blocks: tuple[int, int] | None = None,
        precision: GraphPrecision = "fp32",
        compiled: bool = False,
        graphs: bool = False,
    ) -> None:
        self._dtype = _DTYPES[precision]
        module = module.to(device, self._dtype).eval().requires_grad_(False)
        mode = "reduce-overhead" if graphs else None
        self._call: Callable[..., tuple[Tensor, ...]] | None = (
            torch.compile(module, mode=mode) if compiled else module
        )
        self._outputs, self._blocks, self._device = outputs, blocks, device
        self._compiled, self._graphs = compiled, graphs
        self.device, self.precision = str(device), precision
        how = [str(device), *(["compiled"] if compiled else []), *(["CUDA graph"] if graphs else [])]
        self.name = f"PyTorch {torch.__version__} ({', '.join(how)})"

    def run(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs on the host."""
        return {name: value.cpu().numpy() for name, value in self.run_on_device(images, shift).items()}

    @torch.no_grad()
    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        """Outputs on the device."""
        if self._call is None:
            raise EngineError("this engine was closed. Open it again.")
        fitting = fitting_shift(shift, self._blocks, len(images))
        given = [torch.from_numpy(array) for array in (images, fitting) if array is not None]
        if self._graphs:  # outputs of the run before may be overwritten from here on
            torch.compiler.cudagraph_mark_step_begin()
        found = [value.float() for value in self._call(*(each.to(self._device, self._dtype) for each in given))]
        return dict(zip(self._outputs, (each.clone() for each in found) if self._graphs else found, strict=True))

    def close(self) -> None:
        """Release the module, and what was compiled: the compiler gives up after a few variants of one code."""
        self._call = None
        if self._compiled:
            torch.compiler.reset()


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine to measure.

    Attributes:
        name: "tensorrt fp16, CUDA graph".
        precision: what it computes in.
        open: makes it for a subject; raises EngineError where it cannot be had here.
    """

    name: str
    precision: GraphPrecision
    open: Callable[[Subject], Engine]


def contenders(place: Place, *, compiled: bool = True) -> Iterator[Contender]:
    """By precision, the most asked for first: PyTorch, then every way to run an artifact; then what is lacking.

    Args:
        compiled: whether PyTorch's compiler is one of them.
    """
    for precision in PRECISIONS:
        if precision in _DTYPES:
            yield from _in_pytorch(place, precision, compiled=compiled)
        for runner in place.runners:
            for graphs in place.graphs:
                yield _of_artifact(place, runner, precision, graphs=graphs)
    for name, why in place.lacking.items():
        yield Contender(name, "fp32", _refusing(why))


def _in_pytorch(place: Place, precision: GraphPrecision, *, compiled: bool) -> Iterator[Contender]:
    """Eager; and compiled, on a GPU with the compiler's CUDA graphs too."""
    captured = (False, True) if place.device.type == "cuda" else (False,)
    for with_compiler, graphs in [(False, False), *((True, graphs) for graphs in captured if compiled)]:

        def opened(subject: Subject, with_compiler: bool = with_compiler, graphs: bool = graphs) -> Engine:
            manifest = subject.artifact.manifest
            return ModuleEngine(
                subject.module(),
                tuple(output.name for output in manifest.outputs),
                device=place.device,
                blocks=(manifest.sidecar.depth, manifest.sidecar.channels) if manifest.steerable else None,
                precision=precision,
                compiled=with_compiler,
                graphs=graphs,
            )

        yield Contender(
            _titled(f"PyTorch {'compiled' if with_compiler else 'eager'}", precision, graphs=graphs),
            precision,
            opened,
        )


def _of_artifact(place: Place, runner: Runner, precision: GraphPrecision, *, graphs: bool) -> Contender:
    def opened(subject: Subject) -> Engine:
        return _opened(subject, place, runner, precision, graphs=graphs)

    return Contender(_titled(runner, precision, graphs=graphs), precision, opened)


def _titled(runner: str, precision: GraphPrecision, *, graphs: bool) -> str:
    return f"{runner} {precision}{', CUDA graph' if graphs else ''}"


def _refusing(why: str) -> Callable[[Subject], Engine]:
    def refuse(_subject: Subject) -> Engine:
        raise EngineError(why)

    return refuse


def _opened(subject: Subject, place: Place, runner: Runner, precision: GraphPrecision, *, graphs: bool) -> Engine:
    """As `run` opens it, but for ONNX Runtime's CUDA graphs, and its bound tensors on the CPU."""
    entry = subject.entry(runner, precision)
    if runner not in GRAPH_RUNNERS:
        return open_plan(subject.artifact, entry, graphs=graphs, checked=False)
    cache = subject.built(precision) if runner == "ort-tensorrt" else None
    return OnnxRuntimeDeviceEngine(
        subject.artifact.path(entry.file),
        provider=GRAPH_RUNNERS[runner],
        device=place.device,
        precision=precision,
        graphs=graphs,
        cache=cache,
    )
