"""Settings of the learner."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from moase_edge.config.base import Settings
from moase_edge.config.guard import DriftSettings, GuardSettings, RefereeSettings
from moase_edge.config.names import Preset
from moase_edge.config.track import TrackSettings

ObjectiveName = Literal["consistency", "alignment", "entropy", "soft-likelihood-ratio", "reverse-kl"]
ProximalForm = Literal["none", "squared", "expert-norm", "tensor-norm"]
ProximalAnchor = Literal["source", "teacher"]
ViewName = Literal["same", "channel-dropout", "feature-noise", "augmented-frame"]
AugmentPolicyName = Literal["fixed", "learned"]
TrainedPart = Literal["adapter", "norm", "head"]


def _each_once(parts: tuple[TrainedPart, ...]) -> tuple[TrainedPart, ...]:
    if not parts or len(set(parts)) != len(parts):
        raise ValueError("name one part or more, each once")
    return parts


Decay = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AdaptSettings(Settings):
    """How the sidecar learns from a frame.

    Attributes:
        train: parts of the sidecar that learn; the rest stays frozen.
        lr: learning rate of Adam (paper: 1e-4).
        betas: Adam's (paper: 0.9, 0.99).
        max_grad_norm: the gradient is scaled down to this norm.
        alpha: share of the teacher that stays in each average (paper: 0.999, half gone in 693 updates).
        objectives: name and weight of each loss; `alignment` needs source statistics. None: no weight learns.
        view: what the student sees of the taps; `same` leaves it no signal at the start, `augmented-frame` costs
            another engine run for each update.
        view_strength: share of channels dropped, noise in units of each tap's spread, or the largest strength of
            augmented frames.
        augment_policy: strengths of augmented frames: `fixed` at view_strength, or `learned` up to it.
        proximal, proximal_anchor, proximal_weight: form, reference and mu of the HP loss.
        restore_probability: share of weights set back to the source per step (CoTTA: 0.01).
        source_averaging: share of the way back to the source that the student goes per step (ROID: 0.01).
        batch_from_reservoir: rows of earlier frames that each step learns from again; 0 keeps none.
        reservoir_capacity: rows that are kept for it.
        seed: of the view, of the restore and of what is drawn from the reservoir.
        track: what is corrected without a gradient; needs source statistics.
        guard, referee: when adapted answers are no longer trusted, and what follows.
        drift: when features count as shifted, for updates on shift alone.
    """

    train: Annotated[tuple[TrainedPart, ...], AfterValidator(_each_once)] = ("adapter",)
    lr: float = Field(default=1e-4, gt=0, le=1)
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    max_grad_norm: float = Field(default=1.0, gt=0)
    alpha: float = Field(default=0.99, ge=0, lt=1)
    objectives: dict[ObjectiveName, Weight] = Field(default={})
    view: ViewName = "channel-dropout"
    view_strength: float = Field(default=0.1, ge=0, lt=1)
    augment_policy: AugmentPolicyName = "fixed"
    proximal: ProximalForm = "squared"
    proximal_anchor: ProximalAnchor = "source"
    proximal_weight: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    restore_probability: float = Field(default=0.0, ge=0, le=1)
    source_averaging: float = Field(default=0.0, ge=0, lt=1)
    batch_from_reservoir: int = Field(default=0, ge=0, le=256)
    reservoir_capacity: int = Field(default=64, ge=1, le=4096)
    seed: int = Field(default=0, ge=0, lt=2**63)
    track: TrackSettings = TrackSettings()
    guard: GuardSettings = GuardSettings()
    referee: RefereeSettings = RefereeSettings()
    drift: DriftSettings = DriftSettings()

    def learner(self) -> dict[str, Any]:
        """The arguments of a `Learner`."""
        return self.model_dump(exclude={"track", "guard", "referee", "drift"})

    @model_validator(mode="after")
    def _parts_fit_each_other(self) -> AdaptSettings:
        if self.batch_from_reservoir > self.reservoir_capacity:
            raise ValueError(
                f"batch_from_reservoir is {self.batch_from_reservoir}, and the reservoir holds "
                f"{self.reservoir_capacity} rows; raise reservoir_capacity or take fewer"
            )
        if self.augment_policy == "learned" and self.view != "augmented-frame":
            raise ValueError(f"augment_policy learned belongs to the view augmented-frame; got view {self.view}")
        return self


# The published steps; on the split they are labelled variants (only the sidecar learns).
_PUBLISHED = {
    "lr": 1e-4,
    "max_grad_norm": float("inf"),
    "alpha": 0.999,
    "view": "same",
    "view_strength": 0.0,
    "proximal_anchor": "teacher",
    "proximal_weight": 1.0,
    "objectives": {"consistency": 1.0},
    "track": TrackSettings(recentre=False, remember=False, steer=False),
}
ADAPT_PRESETS: dict[Preset, AdaptSettings] = {
    "edge": AdaptSettings(),
    "paper": AdaptSettings(**_PUBLISHED, proximal="expert-norm"),  # type: ignore[arg-type]
    "official": AdaptSettings(**_PUBLISHED, proximal="tensor-norm", restore_probability=0.01),  # type: ignore[arg-type]
}
