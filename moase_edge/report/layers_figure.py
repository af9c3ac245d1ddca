"""Layers of an int8 engine: noise of their inputs, and what each one adds to the feature error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from moase_edge.errors import ConfigError
from moase_edge.report.canvas import dress, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INT8, _FLOAT = "#0072B2", "#D55E00"
_ROW_IN = 0.19


class LayerBar(NamedTuple):
    """One layer.

    Attributes:
        name: shown beside its bars.
        int8: whether it is.
        noise_db: signal-to-noise ratio of its inputs, the worst of them; None where it is in float.
        gain: by which the feature error falls with it alone in float; None where not measured.
    """

    name: str
    int8: bool
    noise_db: float | None
    gain: float | None


def draw_layers(layers: Sequence[LayerBar], *, title: str) -> Figure:
    """Noise of each layer's inputs in int8, and what each adds to the feature error.

    Args:
        layers: in the order of the graph.
        title: what was calibrated.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    if not layers:
        raise ConfigError("there is no layer to plot; calibrate an artifact first")
    figure = new_figure(title, height_in=1.6 + _ROW_IN * len(layers))
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, layers, [layer.noise_db for layer in layers])
    dress(left, x_label="signal-to-noise ratio of the inputs (dB)", title="more is better")
    _bars(right, layers, [None if layer.gain is None else 100 * layer.gain for layer in layers])
    dress(right, x_label="feature error it causes (points)", title="orange: left in float")
    left.set_yticks(range(len(layers)), [literal(layer.name) for layer in layers])
    left.invert_yaxis()
    return figure


def _bars(ax: Axes, layers: Sequence[LayerBar], values: Sequence[float | None]) -> None:
    known = [(row, value) for row, value in enumerate(values) if value is not None]
    colours = [_INT8 if layers[row].int8 else _FLOAT for row, _ in known]
    ax.barh([row for row, _ in known], [value for _, value in known], color=colours, height=0.7)
