"""`moase-edge state`: look at what was learned, go back, forget it, bake it."""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from typer.testing import CliRunner

from moase_edge.cli.app import app
from moase_edge.cli.state_view import age_of
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.runtime import run_report
from moase_edge.runtime.snapshot_folder import SnapshotFolder, number_of
from tests.cli.kept import run, write_settings, write_stream

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def learned(steerable_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artifact `artifacts/trial` and three snapshots of it; never write into it."""
    place = tmp_path_factory.mktemp("learned")
    stream = write_stream(place / "stream")
    shutil.copytree(steerable_artifact, place / "artifacts" / "trial")
    given: dict[str, Any] = {"folder": place / "state" / "trial", "settings": write_settings(place / "low.json")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_report, "plots_missing", lambda: "There are no plots in this test.")
        for _ in range(3):
            run(place / "artifacts" / "trial", stream, place / "report", resume=True, max_frames=20, **given)
    return place


@pytest.fixture
def place(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied = Path(shutil.copytree(learned, tmp_path / "place"))
    monkeypatch.chdir(copied)
    monkeypatch.setenv("COLUMNS", "200")
    return copied


def call(*arguments: str) -> str:
    """Standard output of a command that must succeed."""
    done = CliRunner().invoke(app, ["state", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def numbers(place: Path) -> tuple[list[int], list[int]]:
    folder = SnapshotFolder(place / "state" / "trial")
    return [number_of(path) for path in folder.snapshots()], [number_of(path) for path in folder.aside()]


def test_list_tells_age_frames_size_and_what_fits(place: Path, tracked_artifact: Path) -> None:
    entries = json.loads(call("list", "--json"))
    assert [(entry["number"], entry["frames"], entry["differs_in"]) for entry in entries] == [
        (3, 60, []),
        (2, 40, []),
        (1, 20, []),
    ]
    shown = call("list")
    assert re.search(r"3 .*\b60 .*KiB .*yes", shown)
    other = call("list", "--artifact", str(tracked_artifact), "--state", "state/trial")
    assert "no: weights, split or adapters: identity" in other


def test_list_names_what_is_damaged_and_what_lies_aside(place: Path) -> None:
    path = place / "state" / "trial" / "snapshot-000003.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    call("rollback", "1")
    assert numbers(place) == ([1], [3, 2])
    shown = call("list")
    assert re.search(r"3 \(aside\) .*damaged", shown)
    assert re.search(r"2 \(aside\) .*yes", shown)


def test_show_tells_domains_counts_and_the_guard(place: Path) -> None:
    shown = call("show")
    for words in (
        "domain 1",
        "contents, features moved by",
        "domains found",
        "rollbacks",
        "trusted",
        "next is frame 60",
    ):
        assert words in shown
    header = json.loads(call("show", "1", "--json"))
    assert header["frames"] == 20
    assert header["binding"]["settings"]["track"]["trials"] == 2


def test_rollback_goes_to_the_one_before_and_a_run_resumes_there(place: Path) -> None:
    assert "goes on from snapshot-000002.safetensors, which learned from 40 frames" in call("rollback")
    assert numbers(place) == ([2, 1], [3])
    assert "snapshot-000003" in call("rollback", "3")
    assert numbers(place) == ([3, 2, 1], [])


def test_what_cannot_be_gone_back_to_is_refused(place: Path) -> None:
    path = place / "state" / "trial" / "snapshot-000002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="no snapshot that can be used"):
        call("rollback")
    assert numbers(place) == ([3, 2, 1], [])
    with pytest.raises(ConfigError, match="There are: 3, 2, 1"):
        call("rollback", "7")
    with pytest.raises(ConfigError, match="holds no snapshot"):
        call("show", "--state", "elsewhere")


def test_reset_needs_force_and_removes_all(place: Path) -> None:
    call("rollback")
    with pytest.raises(ConfigError, match=r"3 snapshots in .* would be removed for good"):
        call("reset")
    assert "removed 3 snapshots" in call("reset", "--force")
    assert numbers(place) == ([], [])


def test_a_folder_in_use_is_left_alone(place: Path) -> None:
    with SnapshotFolder(place / "state" / "trial").locked():
        for words in (("rollback",), ("reset", "--force")):
            with pytest.raises(ConfigError, match="another process"):
                call(*words)
    assert numbers(place) == ([3, 2, 1], [])


def test_bake_writes_a_model_that_opens_and_replaces_none_unasked(place: Path, tracked_artifact: Path) -> None:
    told = call("bake", "--out", "baked.onnx")
    assert re.search(r"wrote baked.onnx: \d domains, \d of them steered", told)
    session = onnxruntime.InferenceSession(str(place / "baked.onnx"), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_outputs()] == ["logits"]
    with pytest.raises(ConfigError, match=r"baked.onnx exists"):
        call("bake", "--out", "baked.onnx")
    with pytest.raises(ArtifactError, match="is not of"):
        call("bake", "--out", "x.onnx", "--state", "state/trial", "--artifact", str(tracked_artifact))


def test_the_commands_of_the_documents_run_as_they_stand(place: Path) -> None:
    text = (ROOT / "docs" / "state.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.split(" #")[0].split() for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        assert command[:2] == ["moase-edge", "state"]
        call(*command[2:])


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (200_000, "2 d"), (-5, "0 s")]
)
def test_an_age_is_told_in_the_largest_unit_that_fits(seconds: int, told: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert age_of(now - timedelta(seconds=seconds), now) == told
