"""Histograms of magnitudes that grow with what they see, and the ranges that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.config.names import RangeMethod

LEVELS = 127  # of a symmetric int8 on each side of zero
_ENTROPY_BINS = 512  # a side; the search is quadratic in them
_ENTROPY_LEVELS = 128
_CANDIDATES = 128


@dataclass(slots=True, eq=False)
class Histogram:
    """Magnitudes in bins of width 2**exponent from zero on, and what bins cannot say.

    Where a value lies beyond the last bin, bins are merged in pairs until it does not: nothing is lost but
    resolution, and the order of what is added does not matter.

    Attributes:
        counts: (bins,) int64.
        exponent: of the width of a bin.
        lowest, highest: of all values.
        channels: (3, C) float64: lowest, highest and sum, by the last dimension.
        rows: values a channel.
    """

    counts: NDArray[np.int64]
    exponent: int = -1022
    lowest: float = math.inf
    highest: float = -math.inf
    channels: NDArray[np.float64] | None = None
    rows: int = 0

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(abs(self.lowest), abs(self.highest))

    @property
    def width(self) -> float:
        """Of a bin."""
        return math.ldexp(1.0, self.exponent)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count finite values of any shape; the last dimension is the channel."""
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self._widen()
        places = (np.abs(values.ravel().astype(np.float64)) / self.width).astype(np.int64)
        self.counts += np.bincount(places, minlength=len(self.counts))
        self._add_channels(values.reshape(-1, values.shape[-1]))

    def _widen(self) -> None:
        """Make the last bin reach beyond the largest magnitude."""
        if self.largest == 0:
            return
        needed = math.frexp(self.largest / len(self.counts))[1]
        if not self.counts.any():
            self.exponent = needed
        while self.exponent < needed:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros_like(merged)])
            self.exponent += 1

    def _add_channels(self, rows: NDArray[np.float32]) -> None:
        seen = np.stack([rows.min(axis=0), rows.max(axis=0), rows.sum(axis=0, dtype=np.float64)])
        if self.channels is None or self.channels.shape != seen.shape:
            self.channels, self.rows = seen.astype(np.float64), len(rows)
            return
        self.channels[0] = np.minimum(self.channels[0], seen[0])
        self.channels[1] = np.maximum(self.channels[1], seen[1])
        self.channels[2] += seen[2]
        self.rows += len(rows)


def new_histogram(bins: int) -> Histogram:
    """One that has seen nothing; `bins` is even."""
    return Histogram(np.zeros(bins, np.int64))


def range_of(histogram: Histogram, method: RangeMethod, *, percentile: float = 99.99) -> float:
    """The magnitude up to which a symmetric int8 reaches; 0 where every value was 0."""
    if histogram.largest == 0:
        return 0.0
    return min(RANGES[method](histogram, percentile), histogram.largest)


def _minmax(histogram: Histogram, _percentile: float) -> float:
    return histogram.largest


def _percentile(histogram: Histogram, percentile: float) -> float:
    """The upper end of the bin in which the share of values below it is reached."""
    reached = np.cumsum(histogram.counts) / histogram.counts.sum()
    return float((np.searchsorted(reached, percentile / 100 - 1e-12) + 1) * histogram.width)


def _mse(histogram: Histogram, _percentile: float) -> float:
    """The range with the least squared error of rounding and clipping, of `_CANDIDATES` shares of the largest."""
    ranges = histogram.largest * np.arange(1, _CANDIDATES + 1) / _CANDIDATES
    return float(ranges[int(np.argmin([squared_error(histogram, float(reach)) for reach in ranges]))])


def squared_error(histogram: Histogram, reach: float) -> float:
    """Mean squared error of int8 up to `reach`, each bin's values taken as spread evenly over it.

    A bin's centre is rounded and clipped; where bins are finer than levels, that is as good as the values.
    """
    filled = np.flatnonzero(histogram.counts)
    centres = (filled + 0.5) * histogram.width
    step = reach / LEVELS
    rounded = np.minimum(np.rint(centres / step), LEVELS) * step
    counts = histogram.counts[filled]
    return float((counts * (centres - rounded) ** 2).sum() / counts.sum())


def signal_to_noise_db(histogram: Histogram, reach: float) -> float:
    """Power of the values over that of what int8 up to `reach` does to them, in decibels."""
    filled = np.flatnonzero(histogram.counts)
    counts = histogram.counts[filled]
    power = float((counts * ((filled + 0.5) * histogram.width) ** 2).sum() / counts.sum())
    return 10 * math.log10(power / max(squared_error(histogram, reach), power * 1e-30))


def _entropy(histogram: Histogram, _percentile: float) -> float:
    """The range whose 128 levels lose the least information, by ONNX Runtime's search over the mirrored counts."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    used = int(np.flatnonzero(histogram.counts)[-1]) + 1
    merge = max(1, -(-used // _ENTROPY_BINS))
    padded = np.pad(histogram.counts[:used], (0, -used % merge))
    side = padded.reshape(-1, merge).sum(axis=1)
    if len(side) <= _ENTROPY_LEVELS // 2:
        return histogram.largest
    edges = np.arange(-len(side), len(side) + 1) * (histogram.width * merge)
    collector = HistogramCollector("entropy", True, 2 * len(side), _ENTROPY_LEVELS, 100.0, "same")
    both = (np.concatenate([side[::-1], side]), edges, edges[0], edges[-1])
    # Its window reaches one bin further to the right than to the left.
    return float(-collector.get_entropy_threshold(both, _ENTROPY_LEVELS)[0])


RANGES: dict[RangeMethod, Callable[[Histogram, float], float]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}
