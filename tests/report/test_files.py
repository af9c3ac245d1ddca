from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.files import write_bytes_atomic, write_json, write_text_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_missing_folders_are_made_and_only_the_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.txt"
    write_text_atomic(path, "grüße\n")
    assert path.read_bytes() == "grüße\n".encode()
    assert names(path.parent) == ["report.txt"]


def test_old_content_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.bin"
    write_bytes_atomic(path, b"a long first content")
    write_bytes_atomic(path, b"short")
    assert path.read_bytes() == b"short"


def test_new_files_get_the_mode_of_ordinary_files(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    write_bytes_atomic(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_content_is_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        order.append("fsync")
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> Path:
        order.append(f"rename {source.parent == target.parent}")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_rename)
    write_bytes_atomic(tmp_path / "file", b"x")
    assert order[:2] == ["fsync", "rename True"]


def test_a_failed_write_keeps_the_old_content_and_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.txt"
    write_text_atomic(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(
        StorageError, match=r"could not write .*report.txt: No space left .*free some space"
    ) as caught:
        write_text_atomic(path, "new")
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["report.txt"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text_atomic(tmp_path / "report.txt", "new")
    assert names(tmp_path) == []


def test_a_file_in_place_of_a_folder_is_a_storage_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageError, match="parents are all folders"):
        write_text_atomic(tmp_path / "taken" / "report.txt", "")
    with pytest.raises(StorageError, match="parents are all folders"):
        write_text_atomic(tmp_path / "taken" / "deeper" / "report.txt", "")


def test_a_folder_in_place_of_the_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with pytest.raises(StorageError, match="not a folder"):
        write_text_atomic(tmp_path / "report", "text")
    assert names(tmp_path) == ["report"]


def test_a_file_name_that_is_not_utf8_is_written_as_an_escape(tmp_path: Path) -> None:
    name = os.fsdecode(b"frame\xff.png")
    write_text_atomic(tmp_path / "a.txt", name)
    write_json(tmp_path / "a.json", {"name": name})
    assert (tmp_path / "a.txt").read_text() == "frame\\udcff.png"
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"name": "frame\\udcff.png"}


def test_json_is_indented_readable_and_free_of_bare_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"error": float("nan"), "name": "grüße", "n": [1, float("inf")]})
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert "grüße" in text
    assert text.startswith('{\n  "error": null')
    assert json.loads(text) == {"error": None, "name": "grüße", "n": [1, None]}


def test_json_of_an_unknown_type_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a bytes cannot be written as JSON"):
        write_json(tmp_path / "a.json", {"blob": b"\x00"})
    assert names(tmp_path) == []
