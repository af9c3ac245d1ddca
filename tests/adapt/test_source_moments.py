"""From an artifact's source statistics to what the learner takes."""

from __future__ import annotations

from pathlib import Path

import torch

from moase_edge.adapt.source_moments import source_moments
from moase_edge.artifact.store import load_artifact
from tests.artifact.folders import make_artifact
from tests.artifact.test_source_statistics import STATISTICS, artifact_with


def test_moments_are_those_of_the_features_in_the_sidecars_precision(tmp_path: Path) -> None:
    found = source_moments(artifact_with(tmp_path / "a"))
    assert found is not None
    assert torch.equal(found.mean, torch.from_numpy(STATISTICS.features.mean).float())
    assert torch.equal(found.std, torch.from_numpy(STATISTICS.features.std).float())
    assert found.mean.dtype == found.std.dtype == torch.float32


def test_without_statistics_there_are_none(tmp_path: Path) -> None:
    assert source_moments(load_artifact(make_artifact(tmp_path / "a"))) is None
