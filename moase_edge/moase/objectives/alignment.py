"""Alignment: the student's features have the mean and spread that features have in the source domain."""

from __future__ import annotations

import torch
from torch import Tensor

from moase_edge.errors import ConfigError
from moase_edge.moase.objectives.views import FeatureMoments, Views, without_source

# A channel that is all but constant in the source would outweigh all others in units of its own spread.
_LEAST_SPREAD = 0.01


def alignment(student: Views, _teacher: Views, source: FeatureMoments | None, /) -> Tensor:
    """Mean over channels of `((mean - mean_source) / std_source)^2 + ((std - std_source) / std_source)^2`.

    Both are of the batch, the standard deviation that of a population. A batch of one has no spread: its second
    term is left out, and its first pulls the frame itself to the mean, the object in view included.
    No channel's unit is below a hundredth of the mean spread.

    Raises:
        ConfigError: there are no source moments.
    """
    if source is None:
        raise ConfigError(without_source("alignment"))
    unit = torch.maximum(source.std, _LEAST_SPREAD * source.std.mean())
    off = _in_units(student.features.mean(dim=0) - source.mean, unit)
    if len(student.features) < 2:
        return off
    return off + _in_units(student.features.std(dim=0, correction=0) - source.std, unit)


def _in_units(difference: Tensor, unit: Tensor) -> Tensor:
    return (difference / unit).square().mean()
