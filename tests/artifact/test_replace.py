"""An artifact is changed as a whole, and only if nobody changed it meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact import files
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.errors import ArtifactError
from tests.artifact.folders import make_artifact


def adding(name: str) -> Any:
    """A change that writes one file."""

    def change(building: Path) -> dict[str, Any]:
        (building / name).write_bytes(name.encode())
        return {}

    return change


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return load_artifact(make_artifact(tmp_path / "tiny"))


def test_what_a_change_writes_is_vouched_for_and_a_users_notes_are_kept(artifact: Artifact) -> None:
    (artifact.folder / "notes.txt").write_text("mine")
    changed = replace_artifact(artifact, adding("a.engine"))
    assert {*changed.manifest.files} == {*artifact.manifest.files, "a.engine"}
    assert (artifact.folder / "notes.txt").read_text() == "mine"
    changed.verify()


def test_a_change_that_ends_while_another_writes_to_the_disk_is_not_lost(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = files._sync

    def meanwhile(folder: Path) -> None:
        monkeypatch.setattr(files, "_sync", sync)
        replace_artifact(artifact, adding("theirs.engine"))
        sync(folder)

    monkeypatch.setattr(files, "_sync", meanwhile)
    with pytest.raises(ArtifactError, match="was replaced meanwhile; it is left as it is"):
        replace_artifact(artifact, adding("mine.engine"))
    assert "theirs.engine" in load_artifact(artifact.folder).manifest.files
    assert [path.name for path in artifact.folder.parent.iterdir()] == ["tiny"]
