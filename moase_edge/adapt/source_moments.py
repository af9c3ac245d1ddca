"""Source statistics as the learner takes them."""

from __future__ import annotations

import torch

from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.moase.objectives import FeatureMoments


def moments_of(statistics: SourceStatistics | None, device: torch.device | None = None) -> FeatureMoments | None:
    """Moments of the features, (C,) float32 each, on a device; None where there are no statistics."""
    if statistics is None:
        return None
    mean, std = (
        torch.from_numpy(values).float().to(device)
        for values in (statistics.features.mean, statistics.features.std)
    )
    return FeatureMoments(mean=mean, std=std)
