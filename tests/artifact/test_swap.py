"""Folders that change places: what is there after a kill at any step, and while others work at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moase_edge.artifact import swap
from moase_edge.artifact.files import new_folder
from moase_edge.artifact.store import load_artifact, newest_artifact
from moase_edge.artifact.swap import locked, restore, take_place
from moase_edge.errors import ArtifactError, ConfigError
from tests.artifact.folders import make_artifact

# Kills itself before its nth change of a folder, for every n, each in a folder of its own; the last ends well.
KILLED = """
import os, sys
from pathlib import Path
from moase_edge.artifact import swap
from moase_edge.artifact.files import new_folder

root, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}

def build(place, text, force=False):
    with new_folder(place / "out", force=force, marker="marker") as folder:
        (folder / "marker").write_text(text)

def killed_before(left):
    def hook(event, _arguments):
        nonlocal left
        left -= event in CHANGES
        if left < 0:
            os._exit(9)
    sys.addaudithook(hook)

if not exchange:
    swap._exchanged = lambda one, other: False
for count in range(99):
    place = root / str(count)
    place.mkdir()
    build(place, "old")
    child = os.fork()
    if not child:
        killed_before(count)
        build(place, "new", force=True)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def children_killed(root: Path, how: str) -> list[Path]:
    """The folders that killed processes leave, one a step."""
    subprocess.run([sys.executable, "-c", KILLED, str(root), how], check=True)
    return sorted(root.iterdir(), key=lambda path: int(path.name))


def build(out: Path, text: str, *, force: bool = False) -> None:
    with new_folder(out, force=force, marker="marker") as folder:
        (folder / "marker").write_text(text)


@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_a_kill_at_any_step_leaves_a_whole_folder_and_nothing_that_the_next_build_does_not_remove(
    tmp_path: Path, how: str
) -> None:
    found, lost = [], 0
    for place in children_killed(tmp_path, how):
        out = place / "out"
        lost += not out.exists()
        assert restore(out) is None
        found.append((out / "marker").read_text())
        with pytest.raises(ConfigError, match="exists"):
            build(out, "another")
        build(out, "next", force=True)
        assert [path.name for path in place.iterdir()] == ["out"]
    news = found.index("new")
    assert 3 < news < len(found) - 1
    assert found == ["old"] * news + ["new"] * (len(found) - news)
    assert lost == (how == "two renames")


def test_an_artifact_that_a_killed_process_set_aside_is_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, find in enumerate((load_artifact, lambda out: newest_artifact(out.parent))):
        out = make_artifact(tmp_path / str(number) / "tiny")
        (out.parent / ".tiny.old-abcdefgh").mkdir()
        out.rename(out.parent / ".tiny.old-abcdefgh" / "tiny")
        find(out)
        assert [path.name for path in out.parent.iterdir()] == ["tiny"]
        assert f"{out} is back" in caplog.text


def test_one_that_cannot_be_put_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_artifact(tmp_path / "tiny")
    aside = tmp_path / ".tiny.old-abcdefgh"
    aside.mkdir()
    out.rename(aside / "tiny")
    monkeypatch.setattr(swap, "_flocked", lambda *lock: False)
    with pytest.raises(ArtifactError, match=rf"killed, and left it in .*Move it back: `mv {aside}/tiny {out}`"):
        load_artifact(out)
    assert (aside / "tiny").is_dir()


def test_what_is_set_aside_waits_for_the_process_that_does_it(tmp_path: Path) -> None:
    """A reader between another's two renames must not put the old folder back."""
    out, aside = tmp_path / "out", tmp_path / ".out.old-abcdefgh" / "out"
    aside.mkdir(parents=True)
    waiting = "from pathlib import Path; import sys; from moase_edge.artifact.swap import restore"
    with locked(tmp_path) as held:
        assert held
        reader = subprocess.Popen([sys.executable, "-c", f"{waiting}; restore(Path(sys.argv[1]))", str(out)])
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(1)
        out.mkdir()
    assert reader.wait(60) == 0
    assert aside.is_dir()


def test_a_folder_that_a_living_process_builds_and_those_of_other_names_stay(tmp_path: Path) -> None:
    others = [tmp_path / ".out.building-mine", tmp_path / ".out.building-x.building-abcdefgh"]
    for path in (*others, tmp_path / ".out.building-deadbeef"):
        path.mkdir()
    with new_folder(tmp_path / "out", force=False, marker="marker") as mine:
        build(tmp_path / "out", "theirs")
        assert mine.is_dir()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            path.name for path in (*others, mine, tmp_path / "out")
        )
        (tmp_path / "out" / "marker").unlink()
        (tmp_path / "out").rmdir()


def test_places_are_taken_in_one_step_where_the_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_names: Path) -> None:
        raise AssertionError("two renames")

    monkeypatch.setattr(swap, "_rename_both", refuse)
    for name in ("new", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not swap._exchanged(tmp_path / "new", tmp_path / "out"):
        pytest.skip("this system cannot exchange two names")
    take_place(tmp_path / "new", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["new"]


def test_a_file_system_without_locks_hinders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    (tmp_path / ".out.building-deadbeef").mkdir()
    monkeypatch.setattr(fcntl, "flock", without)
    build(tmp_path / "out", "old")
    build(tmp_path / "out", "new", force=True)
    assert (tmp_path / "out" / "marker").read_text() == "new"
    assert (tmp_path / ".out.building-deadbeef").is_dir()


def test_the_lock_of_a_folder_is_free_again_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError("x")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
