"""Every engine that an artifact can be run by on one device, PyTorch eager and compiled beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.artifact.manifest import EngineEntry
from moase_edge.artifact.store import Artifact
from moase_edge.engines.base import Engine
from moase_edge.engines.choose import GRAPH_RUNNERS, Choice, Runner
from moase_edge.engines.onnx_runtime_device import OnnxRuntimeDeviceEngine
from moase_edge.engines.open import open_choice
from moase_edge.engines.shift import fitting_shift

GPU_RUNNERS: tuple[Runner, ...] = ("ort-cuda", "ort-tensorrt", "tensorrt", "tensorrt-rtx")


class ModuleEngine:
    """A module in PyTorch whose outputs stay on its device; a new tensor each, so nothing is overwritten.

    Args:
        module: takes images, or images and a shift.
        outputs: names of what it returns.
        blocks: (L, C) of a module that takes a shift.
        compiled: by `torch.compile`.
    """

    def __init__(
        self,
        module: nn.Module,
        outputs: tuple[str, ...],
        *,
        device: torch.device,
        blocks: tuple[int, int] | None = None,
        compiled: bool = False,
    ) -> None:
        module = module.to(device).eval().requires_grad_(False)
        self._call: Callable[..., tuple[Tensor, ...]] = torch.compile(module) if compiled else module
        self._outputs, self._blocks, self._device = outputs, blocks, device
        self.device = str(device)
        self.name = f"PyTorch {torch.__version__} ({device}{', compiled' if compiled else ''})"

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
        fitting = fitting_shift(shift, self._blocks, len(images))
        fed = [torch.from_numpy(array).to(self._device) for array in (images, fitting) if array is not None]
        return dict(zip(self._outputs, self._call(*fed), strict=True))

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine to measure.

    Attributes:
        name: "tensorrt fp16, CUDA graph".
        open: makes it; raises EngineError where it cannot be had here.
    """

    name: str
    open: Callable[[], Engine]


def contenders(
    artifact: Artifact, module: Callable[[], nn.Module], device: torch.device, *, compiled: bool = True
) -> Iterator[Contender]:
    """PyTorch, then every engine of the artifact by every way to run it, without and with CUDA graphs.

    Args:
        module: makes the backbone, cut as the artifact's engine is.
        compiled: whether PyTorch's compiler is one of them.
    """
    manifest = artifact.manifest
    outputs = tuple(output.name for output in manifest.outputs)
    blocks = (manifest.sidecar.depth, manifest.sidecar.channels) if manifest.steerable else None
    for with_compiler in (False, True) if compiled else (False,):
        name = f"PyTorch {'compiled' if with_compiler else 'eager'}"

        def in_pytorch(compile_it: bool = with_compiler) -> Engine:
            return ModuleEngine(module(), outputs, device=device, blocks=blocks, compiled=compile_it)

        yield Contender(name, in_pytorch)
    for runner in GPU_RUNNERS if device.type == "cuda" else ("ort",):
        for entry in manifest.engines:
            if (entry.runtime == "onnx") == (runner in GRAPH_RUNNERS) and runner in (
                *GRAPH_RUNNERS,
                entry.runtime,
            ):
                yield from _with_and_without_graphs(artifact, entry, runner, device)


def _with_and_without_graphs(
    artifact: Artifact, entry: EngineEntry, runner: Runner, device: torch.device
) -> Iterator[Contender]:
    for graphs in (False, True) if device.type == "cuda" else (False,):
        name = f"{runner} {entry.precision}{', CUDA graph' if graphs else ''}"

        def opened(graphs: bool = graphs) -> Engine:
            return _opened(artifact, entry, runner, device, graphs=graphs)

        yield Contender(name, opened)


def _opened(
    artifact: Artifact, entry: EngineEntry, runner: Runner, device: torch.device, *, graphs: bool
) -> Engine:
    """As `run` opens it, but for ONNX Runtime's CUDA graphs, and its bound tensors on the CPU."""
    if runner not in GRAPH_RUNNERS:
        return open_choice(artifact, Choice(runner, entry, "it is measured"), graphs=graphs)
    provider = GRAPH_RUNNERS[runner]
    return OnnxRuntimeDeviceEngine(
        artifact.path(entry.file), provider=provider, device=device, precision=entry.precision, graphs=graphs
    )
