"""Settings of what makes an int8 engine."""

from __future__ import annotations

from pydantic import Field

from moase_edge.config.base import Settings
from moase_edge.config.names import RangeMethod


class QuantiseSettings(Settings):
    """How ranges are chosen and what is quantised.

    Attributes:
        method: how the range of an activation follows from its histogram.
        percentile: share of an activation's values that stay in range, in percent; of the method `percentile`.
        bins: of a histogram of magnitudes.
        attention: the two products of attention (queries and keys, probabilities and values) are int8 too.
        smooth: share of an activation's spread over channels that is moved into the weights behind it
            (SmoothQuant, arXiv 2211.10438, its alpha); 0 moves none.
    """

    method: RangeMethod = "percentile"
    percentile: float = Field(default=99.99, gt=50, le=100)
    bins: int = Field(default=4096, ge=256, le=65536, multiple_of=2)
    attention: bool = False
    smooth: float = Field(default=0.0, ge=0, lt=1)
