"""Settings of the MoASE adapter."""

from __future__ import annotations

from pydantic import Field, model_validator

from moase_edge.config.base import Settings
from moase_edge.config.names import Preset


class MoaseSettings(Settings):
    """Shape and form of one MoASE adapter (arXiv 2405.16486).

    Attributes:
        preset: which forward: `edge` (ours), `paper` (the equations), `official` (the authors' code).
        experts: E, even; the first half keeps strong activations, the second half weak ones.
        rank: R, hidden width of one expert. 48 is what the authors' best log used; their code says 192.
        eta: how far the activation sparsity gate moves a threshold (paper: 0.1).
    """

    preset: Preset = "edge"
    experts: int = Field(default=4, ge=2, le=64, multiple_of=2)
    rank: int = Field(default=48, ge=1, le=4096)
    eta: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _sparsest_expert_keeps_a_unit(self) -> MoaseSettings:
        if self.rank < self.experts:
            raise ValueError(
                f"rank must be at least the number of experts ({self.experts}), or the sparsest expert "
                f"keeps no unit; got {self.rank}"
            )
        return self
