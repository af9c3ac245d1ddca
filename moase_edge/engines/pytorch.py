"""A PyTorch module as an engine: the reference, and the way to run without any other executor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from moase_edge.engines.base import Tensors
from moase_edge.engines.shift import fitting_shift
from moase_edge.errors import EngineError


class TorchEngine:
    """Runs a module whose forward takes images, or images and a shift, and returns tensors in a known order.

    Args:
        module: in evaluation mode, on `device`.
        outputs: names of what it returns.
        blocks: (L, C), blocks and channels of a module that takes a shift; None of one that takes images alone.
        device: where it runs; inputs are copied there, outputs back.
    """

    def __init__(
        self,
        module: nn.Module,
        outputs: tuple[str, ...],
        *,
        blocks: tuple[int, int] | None = None,
        device: str = "cpu",
    ) -> None:
        self._module: nn.Module | None = module.to(device).eval()
        self._outputs = outputs
        self._blocks = blocks
        self._device = device
        self.name = f"PyTorch {torch.__version__} ({device})"

    @torch.inference_mode()
    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        if self._module is None:
            raise EngineError("this engine was closed. Make another.")
        fitting = fitting_shift(shift, self._blocks, len(images))
        fed = [torch.from_numpy(array).to(self._device) for array in (images, fitting) if array is not None]
        try:
            values = self._module(*fed)
        except (RuntimeError, AssertionError, TypeError, ValueError) as exc:
            raise EngineError(
                f"the engine failed on a batch of shape {images.shape}, {images.dtype}; it expects B x 3 x H x W, "
                f"float32: {exc}"
            ) from exc
        return {name: value.cpu().numpy() for name, value in zip(self._outputs, values, strict=True)}

    def close(self) -> None:
        """Let go of the module."""
        self._module = None
