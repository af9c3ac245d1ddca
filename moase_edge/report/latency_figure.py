"""Latency of each stage: over the frames, and its percentiles beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError
from moase_edge.metrics.latency import LatencySummary
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.canvas import TEXT_COLOUR, add_legend, draw_trace, dress, label, line_styles, new_figure
from moase_edge.report.tables import MISSING, format_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE_SPREAD = 30.0
_DRAWN_POINTS = 100
_MEDIAN_OF = 0.04  # part of a run: long enough to quiet the noise, short enough to show a drift
_BUDGET_LINE: Mapping[str, Any] = {"color": "black", "linestyle": (0, (6, 3)), "linewidth": 1.2}

Styles = Mapping[str, Mapping[str, Any]]


def draw_latency(
    stages: Mapping[str, TracePoints],
    summaries: Mapping[str, LatencySummary],
    *,
    budget_ms: float | None = None,
    title: str,
) -> Figure:
    """Latency of each stage over the frames, and beside it the percentiles; logarithmic where it spreads 30-fold.

    Args:
        stages: milliseconds over frame index, by stage; a band spans the lowest to the highest behind each point.
        summaries: by stage.
        budget_ms: drawn as a dashed line.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    names = list(dict.fromkeys([*stages, *summaries]))
    if not names:
        raise ConfigError("there is no stage to plot: expected at least one; time a stage first")
    figure = new_figure(title, height_in=max(4.6, 2.4 + 0.34 * len(names)))
    over_frames, percentiles = figure.subplots(1, 2, width_ratios=(1.5, 1))
    styles = line_styles(names)
    _draw_stages(over_frames, stages, styles)
    _draw_percentiles(percentiles, {name: summaries.get(name) for name in names}, styles)
    if budget_ms is not None:
        over_frames.axhline(budget_ms, label=f"budget {budget_ms:g} ms", **_BUDGET_LINE)
        percentiles.axvline(budget_ms, **_BUDGET_LINE)
    add_legend(figure, over_frames)
    return figure


def _draw_stages(ax: Axes, stages: Mapping[str, TracePoints], styles: Styles) -> None:
    longest = max(stages.values(), key=lambda points: len(points.x), default=None)
    smoothed = longest is not None and len(longest.x) > _DRAWN_POINTS
    title = (
        "running median; the panel beside has the spread" if smoothed else "line: mean, band: lowest to highest"
    )
    dress(ax, x_label="frame", y_label="latency (ms)", title=title)
    if smoothed:
        # With noise and bands of eight stages over each other none could be read.
        stages = {name: _running_median(points) for name, points in stages.items()}
    for name, points in stages.items():
        draw_trace(ax, points, styles[name], label(name))
    ax.margins(x=0.01)
    values = np.concatenate([np.empty(0), *(v for p in stages.values() for v in (p.low, p.high))])
    if _is_wide(values):
        _make_logarithmic(ax, "y")
    else:
        ax.set_ylim(bottom=0)


def _running_median(points: TracePoints) -> TracePoints:
    """At most so many points, each the median of its neighbours' means; they stand for one value each."""
    n = len(points.x)
    centres = (
        np.unique(np.linspace(0, n - 1, min(n, _DRAWN_POINTS)).round().astype(int)) if n else np.empty(0, int)
    )
    reach = int(_MEDIAN_OF * n / 2)
    medians = [float(np.median(points.mean[max(0, c - reach) : c + reach + 1])) for c in centres]
    return TracePoints.of(points.x[centres], medians)


def _draw_percentiles(ax: Axes, summaries: Mapping[str, LatencySummary | None], styles: Styles) -> None:
    dress(ax, x_label="latency (ms)", title="bar: p50 to p95, pale: to p99, line: min to max")
    ax.grid(False, axis="y")
    rows = [s if s is not None and s.count else None for s in summaries.values()]
    for row, (s, style) in enumerate(zip(rows, styles.values(), strict=True)):
        if s is not None:
            _draw_range(ax, row, s, style["color"])
    if _is_wide(np.array([ms for s in rows if s is not None for ms in (s.min_ms, s.max_ms)])):
        _make_logarithmic(ax, "x")
    else:
        ax.set_xlim(left=0)
    ax.set_yticks(range(len(rows)), [label(name, 20) for name in summaries])
    ax.set_ylim(len(rows) - 0.4, -1.4)
    _write_percentiles(ax, rows)


def _draw_range(ax: Axes, row: int, s: LatencySummary, colour: str) -> None:
    ax.hlines(row, s.min_ms, s.max_ms, color=colour, linewidth=1)
    ax.barh(row, s.p95_ms - s.p50_ms, left=s.p50_ms, height=0.5, color=colour)
    ax.barh(row, s.p99_ms - s.p95_ms, left=s.p95_ms, height=0.5, color=colour, alpha=0.4)
    ends = (s.min_ms, s.p50_ms, s.max_ms)
    ax.plot(ends, [row] * len(ends), linestyle="", marker="|", markersize=11, color=colour)


def _write_percentiles(ax: Axes, rows: Sequence[LatencySummary | None]) -> None:
    """p50, p99 and maximum at the right edge of each row, where no bar can cover them."""
    figures = [None if s is None else [format_cell(ms) for ms in (s.p50_ms, s.p99_ms, s.max_ms)] for s in rows]
    lines = [["p50", "p99", "max"], *(cells or [MISSING] * 3 for cells in figures)]
    width = max(len(cell) for cells in lines for cell in cells) + 2
    edge = ax.twinx()
    edge.set_ylim(ax.get_ylim())
    edge.set_yticks(
        range(-1, len(rows)),
        ["".join(cell.rjust(width) for cell in cells) for cells in lines],
        family="monospace",
        fontsize=8,
        color=TEXT_COLOUR,
    )
    edge.tick_params(length=0)
    for spine in edge.spines.values():
        spine.set_visible(False)


def _is_wide(values_ms: NDArray[np.float64]) -> bool:
    positive = values_ms[values_ms > 0]
    return len(positive) > 0 and bool(positive.max() > _WIDE_SPREAD * positive.min())


def _make_logarithmic(ax: Axes, axis: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    scaled = ax.yaxis if axis == "y" else ax.xaxis
    (ax.set_yscale if axis == "y" else ax.set_xscale)("log")
    scaled.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scaled.set_minor_formatter(NullFormatter())
