"""Settings of what makes an int8 engine."""

from __future__ import annotations

from pydantic import Field

from moase_edge.config.base import Settings
from moase_edge.config.names import RangeMethod


class QuantiseSettings(Settings):
    """How ranges are chosen and what is quantised.

    Attributes:
        method: how the range of an activation follows from its histogram.
        norms: the same for what comes out of a LayerNorm, whose few large channels carry what attention rests on
            and must not be clipped (docs/calibration.md); None for the same method.
        percentile: share of an activation's values that stay in range, in percent; of the method `percentile`.
        bins: of a histogram of magnitudes.
        attention: the two products of attention (queries and keys, probabilities and values) are int8 too.
        smooth: how far the spread of a LayerNorm's channels is moved into the weights behind it, the alpha of
            SmoothQuant; 0 moves nothing.
    """

    method: RangeMethod = "mse"
    norms: RangeMethod | None = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    bins: int = Field(default=4096, ge=256, le=65536, multiple_of=2)
    attention: bool = False
    smooth: float = Field(default=0.7, ge=0, lt=1)


class SearchSettings(Settings):
    """How an int8 engine is looked for that keeps an accuracy budget.

    Attributes:
        methods: of ranges that are tried; the one with the least loss on held-out frames is kept.
        max_drop: points of top-1 that may be lost against fp32 on held-out frames; of accuracy where they have
            labels, else of agreement. Of a model without a head, percent of relative feature error.
        least_int8: share of the multiply-adds that must stay in int8.
        hold_out: one frame in so many is held out of the ranges and judges them.
        probes: held-out frames on which the sensitivity of layers is measured.
        always_probe: measure it also where everything in int8 keeps the budget, for the report.
    """

    methods: tuple[RangeMethod, ...] = Field(default=("minmax", "percentile", "entropy", "mse"), min_length=1)
    max_drop: float = Field(default=1.0, ge=0, le=100)
    least_int8: float = Field(default=0.8, ge=0, le=1)
    hold_out: int = Field(default=3, ge=2)
    probes: int = Field(default=16, ge=1)
    always_probe: bool = True


class RepresentativeSettings(Settings):
    """Which frames of a source stand for it.

    Attributes:
        most: frames that are kept; 300, because of the 100 that are held out of them one is a point of accuracy.
        looks: frames that are looked at, spread evenly over a file of known length.
        near: root mean square difference of two thumbnails, of 1, below which the later frame is a duplicate.
        live_s: seconds over which frames of a camera are taken.
    """

    most: int = Field(default=300, ge=1)
    looks: int = Field(default=2048, ge=1)
    near: float = Field(default=0.03, ge=0, lt=1)
    live_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
