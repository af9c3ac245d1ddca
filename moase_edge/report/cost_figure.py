"""Error against cost: a labelled point for each method, and the front that none beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from moase_edge.errors import ConfigError
from moase_edge.report.canvas import TEXT_COLOUR, dress, new_figure
from moase_edge.report.point_labels import write_beside_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRONT, _BEHIND = "#0072B2", "#808080"


class CostPoint(NamedTuple):
    """What a method costs and what it reaches.

    Attributes:
        cost: time of a frame in units of a frozen inference, above 0.
        error: in percent.
        low, high: ends of the error's interval, in percent; NaN where there is none.
    """

    cost: float
    error: float
    low: float
    high: float


def pareto_front(points: Mapping[str, CostPoint]) -> list[str]:
    """Names of the points that no other one undercuts in cost or error without losing in the other, by cost.

    Of equal points the first is named.
    """
    front: list[str] = []
    lowest = math.inf
    for name in sorted(points, key=lambda name: (points[name].cost, points[name].error)):
        if points[name].error < lowest:
            front.append(name)
            lowest = points[name].error
    return front


def draw_error_against_cost(points: Mapping[str, tuple[float, float, float, float]], *, title: str) -> Figure:
    """Error over the cost of a frame, with the methods that none beats in both joined by stairs.

    Args:
        points: `CostPoint` by method; one whose error is not finite is left out.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, a cost that is not above 0, or no matplotlib.
    """
    known = {name: CostPoint(*point) for name, point in points.items() if math.isfinite(point[1])}
    for name, point in known.items():
        if not 0.0 < point.cost < math.inf:
            raise ConfigError(f"{name} costs {point.cost} inferences; expected a number above 0")
    if not known:
        raise ConfigError("there is no point to plot: expected a method with cost and error; run one first")
    figure = new_figure(title, height_in=5.6)
    ax = figure.subplots()
    dress(ax, x_label="cost of a frame (frozen inferences, logarithmic)", y_label="error (%), mean over domains")
    front = pareto_front(known)
    _draw_points(ax, known, front)
    _scale(ax, list(known.values()))
    _draw_front(ax, [known[name] for name in front])
    with_bars = any(math.isfinite(p.high - p.low) for p in known.values())
    meaning = "blue: no other method is both cheaper and better" + ("; bars: interval" if with_bars else "")
    ax.set_title(meaning, loc="left", fontsize=9, color=TEXT_COLOUR)
    ranges = [(p.cost, p.error, _or(p.low, p.error), _or(p.high, p.error)) for p in known.values()]
    write_beside_points(ax, list(known), ranges)
    return figure


def _draw_points(ax: Axes, points: Mapping[str, CostPoint], front: Sequence[str]) -> None:
    for name, point in points.items():
        colour = _FRONT if name in front else _BEHIND
        if math.isfinite(point.low) and math.isfinite(point.high):
            ax.vlines(point.cost, point.low, point.high, color=colour, linewidth=1.2, alpha=0.7)
        ax.plot(point.cost, point.error, marker="o", markersize=6, color=colour, linestyle="")


def _draw_front(ax: Axes, front: Sequence[CostPoint]) -> None:
    """Stairs from each point of the front to the next; what lies above and right of them is beaten."""
    costs = [point.cost for point in front] + [ax.get_xlim()[1]]
    errors = [point.error for point in front] + [front[-1].error]
    ax.step(costs, errors, where="post", color=_FRONT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def _scale(ax: Axes, points: Sequence[CostPoint]) -> None:
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullFormatter

    lowest, highest = min(point.cost for point in points), max(point.cost for point in points)
    room = max(1.08, (highest / lowest) ** 0.12)
    ax.set_xscale("log")
    ax.set_xlim(lowest / room, highest * room)
    # 1, 2, 5, 10, ... leave a narrow range without a second number, and are too many for a wide one.
    few, many = highest < 4 * lowest, highest > 100 * lowest
    ax.xaxis.set_major_locator(AutoLocator() if few else LogLocator(subs=(1,) if many else (1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ends = [_or(end, p.error) for p in points for end in (p.low, p.high, p.error)]
    pad = max(1.0, 0.12 * (max(ends) - min(ends)))
    ax.set_ylim(min(ends) - pad, max(ends) + pad)


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise
