"""What adapted state is bound to."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from moase_edge.artifact.identity import state_identity
from moase_edge.artifact.manifest import Precision
from moase_edge.artifact.store import load_artifact
from tests.artifact.folders import make_artifact


def test_state_of_fp32_is_bound_to_the_manifests_own_identity(tmp_path: Path) -> None:
    manifest = load_artifact(make_artifact(tmp_path / "tiny")).manifest
    assert state_identity(manifest, "fp32") == manifest.identity


def test_every_precision_and_every_artifact_has_an_identity_of_its_own(tmp_path: Path) -> None:
    manifests = [
        load_artifact(make_artifact(tmp_path / digit, identity=digit * 64)).manifest for digit in ("1", "2")
    ]
    found = {state_identity(manifest, precision) for manifest in manifests for precision in get_args(Precision)}
    assert len(found) == 2 * len(get_args(Precision))
    assert all(len(identity) == 64 and set(identity) <= set("0123456789abcdef") for identity in found)
