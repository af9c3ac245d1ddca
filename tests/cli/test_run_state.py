"""`run --state`, `--resume`: what was learned outlives the process, bit for bit."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from moase_edge.adapt.state_file import read_header
from moase_edge.cli.run import StateArguments
from moase_edge.cli.run_state import default_folder, refuse_useless_state
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.runtime import run_report
from moase_edge.runtime.snapshot_folder import SnapshotFolder
from tests.cli.commands import COMMAND, environment
from tests.cli.kept import FRAMES, run, write_settings, write_stream

LEARNING: dict[str, Any] = {
    "objectives": {"consistency": 1.0},
    "batch_from_reservoir": 2,
    "reservoir_capacity": 8,
    "restore_probability": 0.01,
    "lr": 1e-3,
}


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than all else here; they have their own tests."""
    monkeypatch.setattr(run_report, "plots_missing", lambda: "There are no plots in this test.")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("kept") / "stream")


@pytest.mark.parametrize(
    ("adapt", "more"), [("every", {}), ("every-4", LEARNING), ("every", {"view": "augmented-frame", **LEARNING})]
)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    adapt: str, more: dict[str, Any], steerable_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"adapt": adapt, "settings": write_settings(tmp_path / "settings.json", more)}
    whole = run(steerable_artifact, stream, tmp_path / "whole", **given)
    state = tmp_path / "state"
    parts = run(steerable_artifact, stream, tmp_path / "one", folder=state, max_frames=25, **given)
    parts += run(steerable_artifact, stream, tmp_path / "two", folder=state, resume=True, max_frames=13, **given)
    parts += run(steerable_artifact, stream, tmp_path / "three", folder=state, resume=True, **given)
    assert len(whole) == FRAMES
    assert any(line["update"] and line["update"].get("domain") for line in whole)
    assert parts == whole
    said = json.loads((tmp_path / "three" / "summary.json").read_text())["state"]
    assert (said["resumed_at_frame"], said["snapshots_written"]) == (38, 1)
    assert "resumed from snapshot-000002.safetensors at frame 38" in (tmp_path / "three/report.html").read_text()


def test_hold_answers_with_what_was_learned_and_keeps_nothing(
    steerable_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    settings, state = write_settings(tmp_path / "settings.json"), tmp_path / "state"
    run(steerable_artifact, stream, tmp_path / "report", folder=state, settings=settings)
    before = sorted(path.name for path in state.iterdir())
    given: dict[str, Any] = {"folder": state, "resume": True, "adapt": "hold", "settings": settings}
    held = run(steerable_artifact, stream, tmp_path / "held", **given)
    fresh = run(steerable_artifact, stream, tmp_path / "fresh", adapt="hold")
    assert len(held) == FRAMES
    assert not any(line["update"] for line in held)
    changed = [(one["confidence"], two["confidence"]) for one, two in zip(held, fresh, strict=True)]
    assert any(one != two for one, two in changed)
    assert sorted(path.name for path in state.iterdir()) == before


def test_other_settings_are_refused_with_what_differs(
    steerable_artifact: Path, tracked_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    run(steerable_artifact, stream, tmp_path / "report", folder=state, max_frames=3)
    other = tmp_path / "other.json"
    other.write_text('{"track": {"near": 0.7}}')
    with pytest.raises(ArtifactError, match=r"track.near: 0.5, not 0.7"):
        run(steerable_artifact, stream, tmp_path / "two", folder=state, resume=True, settings=other)
    with pytest.raises(ArtifactError, match="identity") as caught:
        run(tracked_artifact, stream, tmp_path / "three", folder=state, resume=True)
    assert caught.value.exit_code == 4


def test_two_runs_do_not_share_a_folder(steerable_artifact: Path, stream: Path, tmp_path: Path) -> None:
    with SnapshotFolder(tmp_path / "state").locked(make=True):
        with pytest.raises(ConfigError, match="another process uses the state"):
            run(steerable_artifact, stream, tmp_path / "report", folder=tmp_path / "state")


@pytest.mark.parametrize(
    ("given", "adapt", "words"),
    [
        ({"resume": True}, "off", "has no state"),
        ({"folder": Path("x")}, "hold", "learns nothing that could be kept"),
        ({"every_s": 0.0}, "every", "every_s"),
        ({"keep": 0}, "every", "keep"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_opened(
    given: dict[str, Any], adapt: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        refuse_useless_state(StateArguments(**given), adapt)


def test_each_option_of_the_state_has_it_kept_and_none_keeps_nothing() -> None:
    assert not StateArguments().wanted
    for given in ({"folder": Path("x")}, {"resume": True}, {"every_s": 1.0}, {"keep": 3}, {"keep_days": 0}):
        assert StateArguments(**given).wanted  # type: ignore[arg-type]
    assert default_folder(Path("artifacts/vit_b16")) == Path("state/vit_b16")


def start_and_kill(command: list[str], folder: Path, wait_s: float) -> None:
    """Start a run, and end it with SIGKILL so long after it has written its first snapshot."""
    before = set(folder.glob("snapshot-*"))
    with subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as running:
        began_s = monotonic()
        while set(folder.glob("snapshot-*")) <= before and running.poll() is None:
            assert monotonic() - began_s < 120
            sleep(0.01)
        sleep(wait_s)
        running.kill()
        _, errors = running.communicate()
    assert running.returncode == -signal.SIGKILL, errors.decode()


def kill_many(times: int, artifact: Path, tmp_path: Path, *, frames: int, wait_s: float) -> None:
    """Kill so many runs at random moments, each gone on where the one before had kept its state; end the last."""
    folder, draw = tmp_path / "state", random.Random(0)
    stream = write_stream(tmp_path / "stream", frames)
    arguments = ["run", "--source", stream, "--artifact", artifact, "--threads", 1, "--state", folder, "--resume"]
    arguments += ["--snapshot-every", 0.002, "--keep", 4, "--force", "--report", tmp_path / "killed"]
    reached = 0
    for _ in range(times):
        start_and_kill([*COMMAND, *map(str, arguments)], folder, draw.uniform(0, wait_s))
        position = read_header(SnapshotFolder(folder).snapshots()[0]).position
        assert position is not None
        assert reached < position.frames < frames
        reached = position.frames
    last = run(artifact, stream, tmp_path / "last", folder=folder, resume=True)
    said = json.loads((tmp_path / "last" / "summary.json").read_text())["state"]
    assert (said["resumed_at_frame"], said["snapshots_passed_over"]) == (reached, 0)
    assert not list(folder.glob(".*.tmp"))
    assert last == run(artifact, stream, tmp_path / "whole")[reached:]


def test_kills_lose_no_more_than_the_time_since_the_last_snapshot(
    steerable_artifact: Path, tmp_path: Path
) -> None:
    kill_many(2, steerable_artifact, tmp_path, frames=400, wait_s=0.05)


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_are_a_hundred_clean_resumes(
    steerable_artifact: Path, tmp_path: Path
) -> None:
    kill_many(100, steerable_artifact, tmp_path, frames=12_000, wait_s=0.2)


@pytest.mark.slow
def test_a_disk_that_is_full_ends_no_run_and_takes_snapshots_again_once_there_is_space(
    steerable_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                continue
        run(steerable_artifact, stream, tmp_path / "full", folder=disk / "state")
        said = json.loads((tmp_path / "full" / "summary.json").read_text())["state"]
        assert (said["snapshots_written"], said["snapshots_failed"]) == (0, 1)
        filler.unlink()
        run(steerable_artifact, stream, tmp_path / "space", folder=disk / "state")
        said = json.loads((tmp_path / "space" / "summary.json").read_text())["state"]
        assert (said["snapshots_written"], said["snapshots_failed"]) == (1, 0)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        shutil.rmtree(disk, ignore_errors=True)
