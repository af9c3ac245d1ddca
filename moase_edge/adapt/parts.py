"""The parts of a sidecar that learn, and how far they have moved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.errors import ConfigError
from moase_edge.moase.choice import choose


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


def train_only(sidecar: Sidecar, train: Sequence[str]) -> list[str]:
    """Freeze a sidecar but for these parts, and return the names of what learns, in its order.

    Raises:
        ConfigError: another part, or none of them has weights; names those that were asked for.
    """
    sidecar.requires_grad_(False)
    for part in trained_parts(sidecar, train):
        part.requires_grad_(True)
    names = [name for name, p in sidecar.named_parameters() if p.requires_grad]
    if not names:
        raise ConfigError(
            f"nothing to train: this sidecar has no weights in {', '.join(train) or 'no part'}. "
            'Train its "adapter".'
        )
    return names


def weights_of(sidecar: Sidecar, names: Sequence[str]) -> list[Tensor]:
    """The weights of these names, in their order."""
    return [sidecar.get_parameter(name) for name in names]


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Euclidean norm of the difference over all tensors."""
    with torch.no_grad():
        norms = torch._foreach_norm(torch._foreach_sub(list(first), list(second)))
        return float(torch.stack(norms).norm())
