"""From source statistics to what the learner takes."""

from __future__ import annotations

import torch

from moase_edge.adapt.source_moments import moments_of
from tests.artifact.test_source_statistics import STATISTICS


def test_moments_are_those_of_the_features_in_the_sidecars_precision() -> None:
    found = moments_of(STATISTICS)
    assert found is not None
    assert torch.equal(found.mean, torch.from_numpy(STATISTICS.features.mean).float())
    assert torch.equal(found.std, torch.from_numpy(STATISTICS.features.std).float())
    assert found.mean.dtype == found.std.dtype == torch.float32


def test_without_statistics_there_are_none() -> None:
    assert moments_of(None) is None
