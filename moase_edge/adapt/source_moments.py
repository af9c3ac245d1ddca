"""Source statistics of an artifact, as the learner takes them."""

from __future__ import annotations

import torch

from moase_edge.artifact.source_statistics import load_source_statistics
from moase_edge.artifact.store import Artifact
from moase_edge.moase.objectives import FeatureMoments


def source_moments(artifact: Artifact) -> FeatureMoments | None:
    """Moments of the features, (C,) float32 each; None where the artifact has none.

    Raises:
        ArtifactError: the statistics are damaged.
    """
    statistics = load_source_statistics(artifact)
    if statistics is None:
        return None
    mean, std = (
        torch.from_numpy(values).float() for values in (statistics.features.mean, statistics.features.std)
    )
    return FeatureMoments(mean=mean, std=std)
