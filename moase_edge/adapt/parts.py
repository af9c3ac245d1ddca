"""The parts of a sidecar that learn, and how far they have moved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.errors import ConfigError
from moase_edge.moase.adapter import adapters_of
from moase_edge.moase.choice import choose
from moase_edge.moase.experts import Experts


def trained_parts(sidecar: Sidecar, train: Sequence[str]) -> list[nn.Module]:
    """The modules behind the names "adapter", "norm" and "head".

    Raises:
        ConfigError: another name.
    """
    parts: dict[str, list[nn.Module | None]] = {
        "adapter": [sidecar.adapters],
        "norm": [sidecar.norm, sidecar.fc_norm],
        "head": [sidecar.head, sidecar.head_dist],
    }
    return [module for name in train for module in choose("part", parts, name) if module is not None]


def names_to_train(sidecar: Sidecar, train: Sequence[str]) -> list[str]:
    """Names of the weights that need a gradient, in the sidecar's order.

    Raises:
        ConfigError: there are none; names the parts that were asked for.
    """
    names = [name for name, p in sidecar.named_parameters() if p.requires_grad]
    if not names:
        raise ConfigError(
            f"nothing to train: this sidecar has no weights in {', '.join(train) or 'no part'}. "
            'Train its "adapter".'
        )
    return names


def experts_of(sidecar: Sidecar) -> list[Experts]:
    """The experts of every adapter, in order."""
    return [adapter.experts for adapter in adapters_of(sidecar)]


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Euclidean norm of the difference over all tensors."""
    with torch.no_grad():
        norms = torch._foreach_norm(torch._foreach_sub(list(first), list(second)))
        return float(torch.stack(norms).norm())
