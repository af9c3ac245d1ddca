"""Pictures of runs as PNG files: latency, adaptation, error by domain, over time, against cost.

matplotlib is imported only when one is drawn. Where it is missing, `plots_missing` gives the sentence that a
report shows instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from moase_edge.metrics.latency import LatencySummary
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.adaptation_figure import draw_adaptation
from moase_edge.report.canvas import plots_missing, save_figure
from moase_edge.report.cost_figure import CostPoint, draw_error_against_cost
from moase_edge.report.curves_figure import Curve, draw_curves
from moase_edge.report.error_figure import draw_errors_by_domain
from moase_edge.report.error_matrix_figure import draw_error_matrix
from moase_edge.report.error_over_time_figure import draw_error_over_time
from moase_edge.report.interval_figure import draw_intervals
from moase_edge.report.latency_figure import draw_latency
from moase_edge.report.layers_figure import LayerBar, draw_layers

__all__ = [
    "CostPoint",
    "Curve",
    "LayerBar",
    "plot_adaptation",
    "plot_curves",
    "plot_error_against_cost",
    "plot_error_matrix",
    "plot_error_over_time",
    "plot_errors_by_domain",
    "plot_intervals",
    "plot_latency",
    "plot_layers",
    "plots_missing",
]


def plot_latency(
    path: str | os.PathLike[str],
    stages: Mapping[str, TracePoints],
    summaries: Mapping[str, LatencySummary],
    *,
    budget_ms: float | None = None,
    title: str,
) -> None:
    """Latency of each stage over the frames, and beside it the percentiles; logarithmic where it spreads 30-fold.

    Args:
        path: where the PNG goes.
        stages: milliseconds over frame index, by stage; a band spans the lowest to the highest behind each point.
        summaries: by stage.
        budget_ms: drawn as a dashed line.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_latency(stages, summaries, budget_ms=budget_ms, title=title), path)


def plot_adaptation(
    path: str | os.PathLike[str],
    series: Mapping[str, TracePoints],
    *,
    marks: Sequence[tuple[float, str]] = (),
    title: str,
) -> None:
    """One panel for each series, all over the same frames.

    Args:
        path: where the PNG goes.
        series: values over frame index, by label; the label carries the unit, as in `entropy (nats)`.
        marks: the frame at which each domain begins, and its name; drawn as bands.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_adaptation(series, marks=marks, title=title), path)


def plot_errors_by_domain(
    path: str | os.PathLike[str], series: Mapping[str, Mapping[str, float]], title: str
) -> None:
    """Top-1 error by domain as grouped bars, a colour for each run.

    Args:
        path: where the PNG goes.
        series: error in percent by domain, by name of the run; a domain that a run lacks gets no bar.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_errors_by_domain(series, title), path)


def plot_error_matrix(
    path: str | os.PathLike[str],
    errors: Mapping[str, Mapping[str, float]],
    *,
    reference: str | None = None,
    title: str,
) -> None:
    """Top-1 error as a number for each method (row) and domain (column), and the mean; the lowest in bold.

    Args:
        path: where the PNG goes.
        errors: error in percent by domain, by method; a domain that a method lacks shows as missing.
        reference: the method, such as the source, that colours compare with: blue is better, red worse. Without
            one, colours show the error itself.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, no such reference, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_error_matrix(errors, reference=reference, title=title), path)


def plot_error_over_time(
    path: str | os.PathLike[str],
    series: Mapping[str, TracePoints],
    *,
    marks: Sequence[tuple[float, str]] = (),
    title: str,
) -> None:
    """Running error over the stream: a panel for each method, with the first one, the source, behind it.

    Args:
        path: where the PNG goes.
        series: error in percent over frame index, by method; `running_error` gives it.
        marks: the frame at which each domain begins, and its name; drawn as bands.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_error_over_time(series, marks=marks, title=title), path)


def plot_error_against_cost(
    path: str | os.PathLike[str], points: Mapping[str, tuple[float, float, float, float]], *, title: str
) -> None:
    """Error over the cost of a frame, with the methods that none beats in both joined by stairs.

    Args:
        path: where the PNG goes.
        points: `CostPoint` by method; one whose error is not finite is left out.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, a cost that is not above 0, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_error_against_cost(points, title=title), path)


def plot_curves(
    path: str | os.PathLike[str],
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    x_label: str,
    y_label: str,
    title: str,
    logarithmic: bool = False,
    level: float | None = None,
) -> None:
    """Curves with a band for their interval; a panel for each group, a colour for each name in all of them.

    Args:
        path: where the PNG goes.
        panels: curves by name, by panel.
        x_label, y_label: with units.
        title: what was run.
        logarithmic: of the x axis.
        level: drawn as a dashed line across, such as zero or chance.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    figure = draw_curves(
        panels, x_label=x_label, y_label=y_label, title=title, logarithmic=logarithmic, level=level
    )
    save_figure(figure, path)


def plot_intervals(
    path: str | os.PathLike[str], points: Mapping[str, tuple[float, float, float]], *, x_label: str, title: str
) -> None:
    """Differences as points one under the other, with the interval as a bar and a line at zero.

    Args:
        path: where the PNG goes.
        points: value, low and high end of its interval, by name; NaN ends for none.
        x_label: with the unit.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_intervals(points, x_label=x_label, title=title), path)


def plot_layers(path: str | os.PathLike[str], layers: Sequence[LayerBar], *, title: str) -> None:
    """Noise of each layer's inputs in int8, and what each adds to the feature error.

    Args:
        path: where the PNG goes.
        layers: in the order of the graph.
        title: what was calibrated.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
        StorageError: `path` cannot be written.
    """
    save_figure(draw_layers(layers, title=title), path)
