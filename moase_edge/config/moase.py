"""Settings of the MoASE adapter."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from moase_edge.config.base import Settings
from moase_edge.config.names import MoasePart, Preset


class MoaseSettings(Settings):
    """Shape and form of one MoASE adapter (arXiv 2405.16486).

    Attributes:
        preset: which forward: `edge` (ours), `paper` (the equations), `official` (the authors' code).
        experts: E, even; the first half keeps strong activations, the second half weak ones.
        rank: R, hidden width of one expert. 48 is what the authors' best log used; their code says 192.
        eta: how far the activation sparsity gate moves a threshold (paper: 0.1).
        sdd_share: of its units the least sparse expert of each half keeps this much, the others less in even steps
            (paper: 1/2, so that four experts keep 1/4 and 1/2).
        without: parts that are left out. `sdd`: no mask. `dag`: routing from the whole input. `asg`: thresholds
            do not move. The fourth part of the paper, HP, is a term of the loss (see AdaptSettings.proximal).
    """

    preset: Preset = "edge"
    experts: int = Field(default=4, ge=2, le=64, multiple_of=2)
    rank: int = Field(default=48, ge=1, le=4096)
    eta: float = Field(default=0.1, ge=0, le=1)
    sdd_share: float = Field(default=0.5, gt=0, le=1)
    without: tuple[MoasePart, ...] = ()

    @model_validator(mode="after")
    def _sparsest_expert_keeps_a_unit(self) -> MoaseSettings:
        least = self.experts / (2 * self.sdd_share)
        if self.rank < least:
            raise ValueError(
                f"rank must be at least the number of experts ({self.experts}) over twice sdd_share "
                f"({self.sdd_share:g}), or the sparsest expert keeps no unit; got {self.rank}"
            )
        return self

    @field_validator("without")
    @classmethod
    def _each_part_once(cls, parts: tuple[MoasePart, ...]) -> tuple[MoasePart, ...]:
        if len(set(parts)) != len(parts):
            raise ValueError("name each part once")
        return parts
