"""The affine parameters of normalisation layers: what TENT, SAR, EATA and ROID train."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from moase_edge.errors import ConfigError


def norm_parameter_names(network: nn.Module) -> list[str]:
    """Names of scale and shift of every LayerNorm and GroupNorm, in the order of the network's modules."""
    return [
        f"{module_name}.{name}"
        for module_name, module in network.named_modules()
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm))
        for name, _ in module.named_parameters(recurse=False)
    ]


def train_only(network: nn.Module, names: Iterable[str]) -> list[Tensor]:
    """Freeze a network but for the named parameters, and return these.

    Raises:
        ConfigError: there are none.
    """
    network.requires_grad_(False)
    trained: list[Tensor] = [network.get_parameter(name).requires_grad_(True) for name in names]
    if not trained:
        raise ConfigError("this network has no normalisation layer to train; leave this method out.")
    return trained
