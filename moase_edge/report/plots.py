"""Pictures of runs as PNG files: latency, adaptation, error by domain, over time, against cost.

Each `plot_NAME(path, ...)` saves what `draw_NAME(...)` of the figure's own module draws.

matplotlib is imported only when one is drawn. Where it is missing, `plots_missing` gives the sentence that a
report shows instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec

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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

P = ParamSpec("P")
AnyPath = str | os.PathLike[str]


def _saved(draw: Callable[P, Figure]) -> Callable[Concatenate[AnyPath, P], None]:
    """The same figure as a PNG file, whose path comes first.

    Raises:
        StorageError: the file cannot be written.
    """

    def plot(path: AnyPath, /, *given: P.args, **named: P.kwargs) -> None:
        save_figure(draw(*given, **named), path)

    return plot


plot_latency = _saved(draw_latency)
plot_adaptation = _saved(draw_adaptation)
plot_errors_by_domain = _saved(draw_errors_by_domain)
plot_error_matrix = _saved(draw_error_matrix)
plot_error_over_time = _saved(draw_error_over_time)
plot_error_against_cost = _saved(draw_error_against_cost)
plot_curves = _saved(draw_curves)
plot_intervals = _saved(draw_intervals)
plot_layers = _saved(draw_layers)
