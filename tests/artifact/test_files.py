from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moase_edge.artifact import swap
from moase_edge.artifact.files import new_folder, refuse_existing, refuse_unnamed, sha256_of, storage_errors
from moase_edge.errors import ConfigError, StorageError

MARKER = "manifest.json"


def tree(folder: Path) -> dict[str, str | None]:
    """Every path below a folder, hidden ones too, with the text of its files."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def build(out: Path, content: str, *, force: bool = False) -> None:
    with new_folder(out, force=force, marker=MARKER) as folder:
        (folder / MARKER).write_text(content)


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """What lies below `folder` is the same afterwards: no leftovers, nothing lost."""
    before = tree(folder)
    yield
    assert tree(folder) == before


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot exchange two names in one step."""
    monkeypatch.setattr(swap, "_exchanged", lambda *names: False)


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sha256_of_more_than_a_chunk(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "large").write_bytes(content)
    assert sha256_of(tmp_path / "large") == hashlib.sha256(content).hexdigest()


def test_folder_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "out"
    with new_folder(out, force=False, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
        assert not out.exists()
        assert folder.parent == out.parent
    assert tree(tmp_path) == {"deep": None, "deep/er": None, "deep/er/out": None, f"deep/er/out/{MARKER}": "new"}


def test_folder_and_files_can_be_read_by_others(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", force=False, marker=MARKER) as folder:
        (folder / MARKER).write_text("")
        (folder / MARKER).chmod(0o600)
        (folder / "run.sh").write_text("")
        (folder / "run.sh").chmod(0o755)
    modes = {
        path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("out", f"out/{MARKER}", "out/run.sh")
    }
    assert modes == {"out": 0o755, f"out/{MARKER}": 0o644, "out/run.sh": 0o755}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_inside_leaves_nothing_and_passes_through(tmp_path: Path, failure: type[BaseException]) -> None:
    with unchanged(tmp_path), pytest.raises(failure):
        with new_folder(tmp_path / "deep" / "er" / "out", force=False, marker=MARKER) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "file").write_text("half")
            raise failure("stop")


def test_failure_inside_keeps_folders_above_that_were_there_or_hold_something(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="stop"):
        with new_folder(tmp_path / "there" / "made" / "out", force=False, marker=MARKER):
            (tmp_path / "there" / "made" / "other").write_text("of another program")
            raise ValueError("stop")
    assert tree(tmp_path) == {"there": None, "there/made": None, "there/made/other": "of another program"}


def test_existing_folder_needs_force(tmp_path: Path) -> None:
    build(tmp_path / "out", "old")
    with unchanged(tmp_path), pytest.raises(ConfigError, match=r"exists\. Give --force"):
        build(tmp_path / "out", "new")


def test_force_replaces_the_whole_folder(tmp_path: Path) -> None:
    build(tmp_path / "out", "old")
    (tmp_path / "out" / "extra").write_text("of the old one")
    build(tmp_path / "out", "new", force=True)
    assert tree(tmp_path) == {"out": None, f"out/{MARKER}": "new"}


def test_old_folder_stands_while_the_new_one_is_built_and_stays_if_that_fails(tmp_path: Path) -> None:
    build(tmp_path / "out", "old")
    with unchanged(tmp_path), pytest.raises(ValueError, match="stop"):
        with new_folder(tmp_path / "out", force=True, marker=MARKER) as folder:
            (folder / MARKER).write_text("half")
            assert (tmp_path / "out" / MARKER).read_text() == "old"
            raise ValueError("stop")


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("failing_rename", [1, 2])
@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_old_folder_is_put_back_if_the_swap_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_rename: int, failure: BaseException
) -> None:
    build(tmp_path / "out", "old")
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing_rename:
            raise failure
        return rename(self, target)

    with unchanged(tmp_path), pytest.raises((StorageError, KeyboardInterrupt)):
        monkeypatch.setattr(Path, "rename", failing)
        build(tmp_path / "out", "new", force=True)
    assert len(calls) >= failing_rename


@pytest.mark.usefixtures("no_exchange")
def test_old_folder_that_cannot_be_put_back_is_kept_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "out", "old")
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError):
        build(tmp_path / "out", "new", force=True)
    assert [text for text in tree(tmp_path).values() if text] == ["old"]


def test_folder_of_another_program_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    for force in (False, True):
        with unchanged(tmp_path), pytest.raises(ConfigError, match="was not made by this command"):
            build(tmp_path / "home", "new", force=force)


def test_folder_whose_marker_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home" / MARKER).mkdir(parents=True)
    with unchanged(tmp_path), pytest.raises(ConfigError, match="was not made by this command"):
        build(tmp_path / "home", "new", force=True)


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    build(tmp_path / "out", "new")
    assert tree(tmp_path) == {"out": None, f"out/{MARKER}": "new"}


@pytest.mark.parametrize("force", [False, True])
def test_file_in_the_way_is_refused(tmp_path: Path, force: bool) -> None:
    (tmp_path / "out").write_text("a file")
    with unchanged(tmp_path), pytest.raises(ConfigError, match="is a file, not a folder"):
        build(tmp_path / "out", "new", force=force)


@pytest.mark.parametrize("target", ["real", "absent"])
def test_link_in_the_way_is_refused(tmp_path: Path, target: str) -> None:
    build(tmp_path / "real", "old")
    (tmp_path / "out").symlink_to(tmp_path / target)
    with unchanged(tmp_path), pytest.raises(ConfigError, match="is a link"):
        build(tmp_path / "out", "new", force=True)


@pytest.mark.parametrize("out", [".", ".."])
def test_the_current_folder_and_those_above_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    build(tmp_path / "old", "old")
    (tmp_path / "old" / "below").mkdir()
    monkeypatch.chdir(tmp_path / "old" / "below")
    with unchanged(tmp_path), pytest.raises(ConfigError, match="Name a folder below it"):
        with new_folder(Path(out), force=True, marker=MARKER):
            raise AssertionError("the work began")


def test_a_mount_point_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "volume")
    (tmp_path / "volume").mkdir()
    with pytest.raises(ConfigError, match=r"volume is a mount point, .* Name a folder below it"):
        refuse_unnamed(tmp_path / "volume")
    refuse_unnamed(tmp_path / "volume" / "artifact")


def test_folder_that_came_to_be_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="exists"),
        new_folder(tmp_path / "out", force=False, marker=MARKER) as mine,
    ):
        (mine / MARKER).write_text("mine")
        build(tmp_path / "out", "theirs")
    assert tree(tmp_path) == {"out": None, f"out/{MARKER}": "theirs"}


def test_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with unchanged(tmp_path), pytest.raises(StorageError, match=r"cannot write .*Name|name a place"):
        build(tmp_path / "file" / "out", "new")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that nobody can write to")
def test_file_system_without_writing_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="cannot write /proc/out") as caught:
        build(Path("/proc/out"), "new")
    assert isinstance(caught.value.__cause__, OSError)


def test_name_that_is_too_long_is_a_storage_error(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(StorageError, match="too long"):
        build(tmp_path / ("x" * 300), "new")


def test_full_disk_is_a_storage_error_that_keeps_the_old_folder(tmp_path: Path) -> None:
    build(tmp_path / "out", "old")
    program = """
import resource, sys
from pathlib import Path
from moase_edge.artifact.files import new_folder
from moase_edge.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with new_folder(Path(sys.argv[1]), force=True, marker="manifest.json") as folder:
        (folder / "small").write_bytes(b"x" * 100)
        (folder / "large").write_bytes(b"x" * 2000)
except StorageError as error:
    print(error)
"""
    with unchanged(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "out")], capture_output=True, text=True, check=True
        )
    assert done.stdout.startswith(f"cannot write {tmp_path / 'out'}: File too large. Free some space")


def test_storage_errors_leave_other_errors_alone() -> None:
    with pytest.raises(KeyError), storage_errors(Path("x")):
        raise KeyError("x")


def test_refusal_alone_touches_nothing(tmp_path: Path) -> None:
    with unchanged(tmp_path):
        refuse_existing(tmp_path / "absent", force=False, marker=MARKER)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.ENOTDIR, "A part of that path is a file"),
        (errno.EROFS, "Name a place that you may write to"),
        (errno.ENOENT, "Name a place that can be written"),
    ],
)
def test_the_advice_fits_what_went_wrong(code: int, advice: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"^cannot write .*: {os.strerror(code)}\. {advice}"):
        with storage_errors(tmp_path):
            raise OSError(code, os.strerror(code))
