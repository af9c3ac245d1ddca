"""The folder of snapshots: numbers, what is kept, what lies aside, and who may write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moase_edge.errors import ConfigError, StorageError
from moase_edge.runtime.snapshot_folder import SnapshotFolder, number_of

DAY_S = 86_400.0


def filled(path: Path, count: int) -> SnapshotFolder:
    folder = SnapshotFolder(path)
    for number in range(1, count + 1):
        folder.write(str(number).encode())
    return folder


def numbers(paths: list[Path]) -> list[int]:
    return [number_of(path) for path in paths]


def test_an_absent_folder_holds_nothing_and_is_made_with_the_first_snapshot(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path / "a" / "b")
    assert folder.snapshots() == folder.aside() == []
    assert folder.write(b"one").read_bytes() == b"one"
    assert numbers(folder.snapshots()) == [1]


def test_other_files_are_no_snapshots(tmp_path: Path) -> None:
    folder = filled(tmp_path, 1)
    for name in ("snapshot-2.safetensors", "notes.txt", ".0123456789abcdef.tmp"):
        (tmp_path / name).write_text("x")
    assert numbers(folder.snapshots()) == [1]


def test_the_newest_are_kept_and_of_each_day_before_the_latest(tmp_path: Path) -> None:
    folder = filled(tmp_path, 8)
    ages = {1: 3.5, 2: 2.5, 3: 2.2, 4: 1.5, 5: 1.2, 6: 0.5, 7: 0.2, 8: 0.0}
    for path in folder.snapshots():
        when = 100 * DAY_S - ages[number_of(path)] * DAY_S
        os.utime(path, (when, when))
    folder.prune(2, 3, now_s=100 * DAY_S - 1)
    assert numbers(folder.snapshots()) == [8, 7, 6, 5, 3]
    folder.prune(1, 0, now_s=100 * DAY_S)
    assert numbers(folder.snapshots()) == [8]


def test_a_run_of_days_keeps_the_latest_of_each(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path)
    for quarter in range(24):  # of a day
        now_s = (100 + quarter / 4) * DAY_S
        path = folder.write(str(quarter).encode())
        os.utime(path, (now_s, now_s))
        folder.prune(2, 4, now_s=now_s)
    assert [int(path.read_text()) for path in folder.snapshots()] == [23, 22, 21, 19, 15, 11]


def test_a_folder_that_can_be_written_later_is_locked_then(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    folder = SnapshotFolder(blocked)
    with folder.locked(make=True):
        blocked.unlink()
        folder.write(b"one")
        with pytest.raises(ConfigError, match="another process"), SnapshotFolder(blocked).locked():
            pass
    with SnapshotFolder(blocked).locked():
        pass


def test_a_folder_that_another_process_took_meanwhile_is_not_written(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    folder = SnapshotFolder(blocked)
    with folder.locked(make=True):
        blocked.unlink()
        with SnapshotFolder(blocked).locked(make=True), pytest.raises(ConfigError, match="another process"):
            folder.write(b"one")
        assert folder.write(b"one").read_bytes() == b"one"


def test_a_rollback_sets_later_ones_aside_and_their_numbers_are_not_used_again(tmp_path: Path) -> None:
    folder = filled(tmp_path, 4)
    assert folder.roll_back_to(folder.named("2")).read_bytes() == b"2"
    assert (numbers(folder.snapshots()), numbers(folder.aside())) == ([2, 1], [4, 3])
    assert number_of(folder.write(b"new")) == 5
    assert folder.roll_back_to(folder.named("snapshot-000003.safetensors")).read_bytes() == b"3"
    assert (numbers(folder.snapshots()), numbers(folder.aside())) == ([3, 2, 1], [5, 4])


def test_an_unknown_name_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no snapshot '9'. There are: 2, 1"):
        filled(tmp_path, 2).named("9")


def test_clearing_removes_those_aside_too(tmp_path: Path) -> None:
    folder = filled(tmp_path, 3)
    folder.roll_back_to(folder.named("1"))
    assert folder.clear() == 3
    assert folder.snapshots() == folder.aside() == []


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = filled(tmp_path, 1)
    (tmp_path / ".0123456789abcdef.tmp").write_text("half")
    (tmp_path / ".mine.tmp").write_text("x")
    folder.remove_unfinished()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp", "snapshot-000001.safetensors"]


HOLD = """
import sys
from pathlib import Path
from moase_edge.runtime.snapshot_folder import SnapshotFolder
with SnapshotFolder(Path(sys.argv[1])).locked(make=True):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another process"), SnapshotFolder(tmp_path).locked():
            pass
        other.kill()
    with SnapshotFolder(tmp_path).locked():
        pass


def test_a_place_that_cannot_be_written_needs_no_lock_and_says_so_when_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    folder = SnapshotFolder(tmp_path / "file" / "state")
    with folder.locked(make=True), pytest.raises(StorageError, match="could not write"):
        folder.write(b"x")
