"""Settings of what watches over the learner: the drift detector, the guard and its referee."""

from __future__ import annotations

from pydantic import Field, model_validator

from moase_edge.config.base import Settings


class DriftSettings(Settings):
    """When the features of a stream count as shifted; numbers of frames are frames with new content.

    Attributes:
        fast, slow: share that stays in the two running means per frame.
        threshold: score, in standard deviations of an unchanged stream, above which frames count toward an alarm.
        patience: frames in a row above it that make an alarm.
        warm_up: frames before the first alarm.
        hold: frames for which a shift is reported after an alarm.
    """

    fast: float = Field(default=0.9, gt=0, lt=1)
    slow: float = Field(default=0.99, gt=0, lt=1)
    threshold: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    patience: int = Field(default=3, ge=1)
    warm_up: int = Field(default=50, ge=10)
    hold: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _slow_is_slower(self) -> DriftSettings:
        if self.slow <= self.fast:
            raise ValueError(f"slow must be above fast; got {self.slow} and {self.fast}")
        return self


class GuardSettings(Settings):
    """When adapted answers raise an alarm beside the frozen ones.

    Attributes:
        window: frames with new content that are compared.
        warm_up: of these, before anything but a non-finite value or the distance raises an alarm.
        min_class_ratio: classes that the adapted answers tell apart, as a share of the frozen ones'.
        min_entropy_ratio: mean entropy of the adapted answers, as a share of the frozen ones'.
        confident: probability from which a model counts as sure.
        min_confident: frames in the window on which the frozen model must be, before their contradiction counts.
        max_contradiction: share of these on which the adapted model may be sure of another class.
        max_distance: of the learned weights from the source; None never raises an alarm.
    """

    window: int = Field(default=64, ge=8, le=4096)
    warm_up: int = Field(default=32, ge=1)
    min_class_ratio: float = Field(default=1 / 3, ge=0, le=1)
    min_entropy_ratio: float = Field(default=0.25, ge=0, le=1)
    confident: float = Field(default=0.8, gt=0, le=1)
    min_confident: int = Field(default=16, ge=1)
    max_contradiction: float = Field(default=0.75, ge=0, le=1)
    max_distance: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _fits_the_window(self) -> GuardSettings:
        if max(self.warm_up, self.min_confident) > self.window:
            raise ValueError(
                f"warm_up and min_confident must not be above window; "
                f"got {self.warm_up} and {self.min_confident} beside {self.window}"
            )
        return self


class RefereeSettings(Settings):
    """What follows an alarm; all in frames with new content.

    Attributes:
        proven: frames without alarm after which a snapshot counts as good.
        probation: frames after a rollback or a retry within which another alarm leads to the frozen model.
        hold_off: frames that are then answered frozen; doubles each time.
        max_hold_off: but not beyond this.
    """

    proven: int = Field(default=64, ge=1)
    probation: int = Field(default=128, ge=1)
    hold_off: int = Field(default=128, ge=1)
    max_hold_off: int = Field(default=4096, ge=1)

    @model_validator(mode="after")
    def _can_double(self) -> RefereeSettings:
        if self.max_hold_off < self.hold_off:
            raise ValueError(f"max_hold_off must not be below hold_off; got {self.max_hold_off}, {self.hold_off}")
        return self
