"""Which parameters the entropy methods train."""

from __future__ import annotations

import pytest
from torch import nn

from moase_edge.bench.methods.norm_layers import norm_parameter_names, train_only
from moase_edge.errors import ConfigError
from tests.bench.methods.subjects import DEPTH, tiny_network


def test_every_layer_norm_of_a_vision_transformer_is_named() -> None:
    expected = [
        f"blocks.{block}.{norm}.{name}"
        for block in range(DEPTH)
        for norm in ("norm1", "norm2")
        for name in ("weight", "bias")
    ]
    assert norm_parameter_names(tiny_network()) == [*expected, "norm.weight", "norm.bias"]


def test_a_norm_without_scale_and_shift_has_nothing_to_train() -> None:
    network = nn.Sequential(nn.LayerNorm(4, elementwise_affine=False), nn.GroupNorm(2, 4))
    assert norm_parameter_names(network) == ["1.weight", "1.bias"]


def test_all_else_is_frozen() -> None:
    network = tiny_network().requires_grad_(True)
    trained = train_only(network, ["norm.bias"])
    assert [name for name, weight in network.named_parameters() if weight.requires_grad] == ["norm.bias"]
    assert trained[0] is network.get_parameter("norm.bias")


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ConfigError, match="no normalisation layer"):
        train_only(nn.Linear(2, 2), [])
