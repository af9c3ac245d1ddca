"""The picture of an int8 engine's layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from moase_edge.errors import ConfigError
from moase_edge.report.layers_figure import LayerBar, draw_layers
from moase_edge.report.plots import plot_layers

LAYERS = [
    LayerBar("blocks.0.attn.qkv", True, 31.5, 0.02),
    LayerBar("blocks.0.mlp.fc2", False, None, 0.05),
    LayerBar("a $product$ of attention", False, None, None),
]


def test_each_layer_has_a_bar_for_what_is_known_of_it() -> None:
    figure = draw_layers(LAYERS, title="int8")
    noise, gain = figure.axes
    assert [patch.get_width() for patch in noise.patches] == [31.5]
    assert [patch.get_width() for patch in gain.patches] == [2, 5]
    assert len({patch.get_facecolor() for patch in gain.patches}) == 2
    assert [tick.get_text() for tick in noise.get_yticklabels()][1] == "blocks.0.mlp.fc2"


def test_the_picture_is_saved_and_one_without_layers_refused(tmp_path: Path) -> None:
    plot_layers(tmp_path / "layers.png", LAYERS, title="int8")
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="no layer to plot"):
        draw_layers([], title="int8")
