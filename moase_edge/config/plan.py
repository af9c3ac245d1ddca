"""Settings of plans: what TensorRT builds from an ONNX graph."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from moase_edge.config.base import Settings
from moase_edge.errors import ConfigError

_Count = Annotated[int, Field(ge=1, le=4096)]


class PlanSettings(Settings):
    """How a plan is built. Its precision is what its graph says.

    Attributes:
        batch: smallest, usual and largest batch; kernels are chosen for the usual one. All three alike make static
            shapes, which run fastest and take least memory.
        workspace_mib: memory that one layer may take beside its tensors; None for all that the device has.
        tf32: products of float32 in TF32, with 10 bits of mantissa: faster, and no longer float32's precision.
        version_compatible: later versions of TensorRT can run it too; it is larger, and perhaps slower.
        hardware_compatible: GPUs from Ampere on can run it too, not only the target; perhaps slower.
    """

    batch: tuple[_Count, _Count, _Count] = (1, 1, 1)
    workspace_mib: int | None = Field(default=None, ge=1, le=2**20)
    tf32: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False

    @model_validator(mode="after")
    def _batches_in_order(self) -> PlanSettings:
        if tuple(sorted(self.batch)) != self.batch:
            least, usual, most = self.batch
            raise ValueError(
                f"a batch range goes from the smallest by the usual to the largest, got {least}..{usual}..{most}"
            )
        return self


def parse_batch(text: str) -> tuple[int, int, int]:
    """`4`, `1..8` or `1..4..8`: a batch, the smallest and largest, or the usual one between them.

    A range without a usual batch is tuned for its smallest: live frames come one by one.

    Raises:
        ConfigError: it is none of these.
    """
    if not re.fullmatch(r"\d+(\.\.\d+){0,2}", text, flags=re.ASCII):
        raise ConfigError(f"a batch is written 4, 1..8 or 1..4..8 (smallest, usual, largest), got {text!r}.")
    sizes = [int(size) for size in text.split("..")]
    usual = sizes[1] if len(sizes) == 3 else sizes[0]
    return sizes[0], usual, sizes[-1]


def options_of(settings: PlanSettings) -> list[str]:
    """The options of `moase-edge export` that make these settings."""
    options = []
    if settings.batch != PlanSettings().batch:
        options += ["--batch", "..".join(map(str, settings.batch))]
    if settings.workspace_mib is not None:
        options += ["--workspace-mib", str(settings.workspace_mib)]
    flags = {
        "--tf32": settings.tf32,
        "--version-compatible": settings.version_compatible,
        "--hardware-compatible": settings.hardware_compatible,
    }
    return options + [flag for flag, wanted in flags.items() if wanted]
