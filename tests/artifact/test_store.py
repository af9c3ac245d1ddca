from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.manifest import SCHEMA_VERSION
from moase_edge.artifact.store import (
    MANIFEST,
    Artifact,
    load_artifact,
    newest_artifact,
    read_manifest,
    usable_artifacts,
    write_manifest,
)
from moase_edge.errors import ArtifactError, ConfigError
from tests.artifact.folders import FILES, edit_manifest, fields, make_artifact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "artifacts" / "tiny")


def refused(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        load_artifact(folder)
    assert caught.value.exit_code == 4
    return str(caught.value)


def test_what_is_read_equals_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "backbone.onnx").write_bytes(b"")
    (tmp_path / "plans" / "a.engine").write_bytes(b"abc")
    written = write_manifest(tmp_path, fields())
    assert load_artifact(tmp_path) == Artifact(tmp_path, written)
    assert written.schema_version == SCHEMA_VERSION
    assert written.files == {
        "backbone.onnx": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "plans/a.engine": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_real_artifact_is_accepted_and_holds_what_its_manifest_names(digits_artifact: Path) -> None:
    artifact = load_artifact(digits_artifact)
    assert {*artifact.manifest.files, MANIFEST} == {path.name for path in digits_artifact.iterdir()}
    assert {*FILES, "parity_probe.safetensors"} == set(artifact.manifest.files)


def test_a_copied_or_moved_artifact_is_accepted(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    folder.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    for place in ("copy", "moved", "link"):
        load_artifact(tmp_path / place)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_bit_in_any_file_is_refused_by_name(folder: Path, name: str, place: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[place] ^= 1
    (folder / name).write_bytes(content)
    message = refused(folder)
    assert f"{folder / name} has changed" in message
    assert "moase-edge export" in message


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [path]
    return [leaf for key, inner in items for leaf in _leaves(inner, (*path, key))]


def test_any_changed_value_in_the_manifest_is_refused(folder: Path) -> None:
    original = (folder / MANIFEST).read_text()
    leaves = _leaves(json.loads(original))
    assert len(leaves) > 60
    for *parents, last in leaves:
        plain = json.loads(original)
        holder = plain
        for key in parents:
            holder = holder[key]
        value = holder[last]
        holder[last] = value + 1 if isinstance(value, (int, float)) else "x" if value is None else f"{value}x"
        (folder / MANIFEST).write_text(json.dumps(plain))
        assert MANIFEST in refused(folder), (*parents, last)
        holder.pop(last)
        (folder / MANIFEST).write_text(json.dumps(plain))
        assert MANIFEST in refused(folder), (*parents, last)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{folder / name} is missing" in refused(folder)


def test_a_folder_in_place_of_a_file_counts_as_missing(folder: Path) -> None:
    (folder / "parity.json").unlink()
    (folder / "parity.json").mkdir()
    assert "parity.json is missing" in refused(folder)


def test_a_file_that_cannot_be_read_is_an_artifact_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("moase_edge.artifact.store.sha256_of", fail)
    assert "cannot be read: [Errno 5] Input/output error" in refused(folder)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ""])
def test_a_forged_name_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    edit_manifest(folder, lambda plain: plain["files"].update({name: "0" * 64}))
    assert "leaves the artifact's folder" in refused(folder) or "not a plain relative path" in refused(folder)


def test_a_link_that_leaves_the_folder_is_refused_even_with_the_right_bytes(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "backbone.onnx", tmp_path / "outside.onnx")
    (folder / "backbone.onnx").symlink_to(tmp_path / "outside.onnx")
    assert "backbone.onnx is a link that leaves" in refused(folder)


def test_a_linked_folder_that_leaves_the_artifact_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_bytes(b"")
    (folder / "plans").symlink_to(tmp_path / "outside")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    edit_manifest(folder, lambda plain: plain["files"].update({"plans/a": digest}))
    assert "leaves the artifact's folder" in refused(folder)


def test_a_link_inside_the_folder_is_accepted_and_a_link_to_itself_refused(folder: Path) -> None:
    (folder / "parity.json").rename(folder / "real.json")
    (folder / "parity.json").symlink_to("real.json")
    load_artifact(folder)
    (folder / "parity.json").unlink()
    (folder / "parity.json").symlink_to("parity.json")
    assert "parity.json" in refused(folder)


def test_only_files_that_the_manifest_names_are_handed_out(folder: Path) -> None:
    artifact = load_artifact(folder)
    assert artifact.path("backbone.onnx") == folder / "backbone.onnx"
    (folder / "state.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match="does not name it"):
        artifact.path("state.bin")


def test_a_newer_schema_tells_to_update(folder: Path) -> None:
    edit_manifest(
        folder, lambda plain: plain.update(schema_version=SCHEMA_VERSION + 1, fresh="a field of tomorrow")
    )
    message = refused(folder)
    assert f"schema version {SCHEMA_VERSION + 1}; this moase-edge reads up to {SCHEMA_VERSION}" in message
    assert "Update moase-edge" in message


@pytest.mark.parametrize("version", [None, "1", 1.0, True, 0, -1])
def test_a_schema_version_that_never_was_is_refused(folder: Path, version: object) -> None:
    edit_manifest(folder, lambda plain: plain.update(schema_version=version))
    message = refused(folder)
    assert f"its schema version is {version!r}" in message
    assert "Update" not in message


def test_an_unknown_field_is_named(folder: Path) -> None:
    edit_manifest(folder, lambda plain: plain["moase"].update(surprise=1))
    assert "moase.surprise: Extra inputs are not permitted (got 1)" in refused(folder)


def test_all_faults_of_a_manifest_are_named_together(folder: Path) -> None:
    edit_manifest(folder, lambda plain: (plain.pop("name"), plain["moase"].update(experts=3)))
    message = refused(folder)
    assert "name: Field required" in message
    assert "moase.experts" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as JSON"),
        (b'{"schema_version": 1', "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"[1, 2]", "holds no JSON object"),
        (b"null", "holds no JSON object"),
        (b"{}", "its schema version is None"),
    ],
)
def test_a_damaged_manifest_is_refused(folder: Path, content: bytes, words: str) -> None:
    (folder / MANIFEST).write_bytes(content)
    message = refused(folder)
    assert words in message
    assert str(folder / MANIFEST) in message


def test_a_truncated_manifest_is_refused_wherever_it_ends(folder: Path) -> None:
    content = (folder / MANIFEST).read_bytes().rstrip()
    for length in range(0, len(content), 37):
        (folder / MANIFEST).write_bytes(content[:length])
        refused(folder)


def test_a_place_without_an_artifact_is_told_apart(tmp_path: Path) -> None:
    assert "no such folder. Make one with `moase-edge export`" in refused(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "is missing" in refused(tmp_path / "empty")


def test_a_place_that_cannot_be_looked_at_is_an_artifact_error(tmp_path: Path) -> None:
    assert "File name too long" in refused(tmp_path / ("a" * 300))


def test_the_newest_artifact_is_the_one_created_last_whatever_its_name(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a", age_days=2)
    make_artifact(tmp_path / "b", age_days=1)
    make_artifact(tmp_path / "c", age_days=3)
    os.utime(tmp_path / "c" / MANIFEST)
    assert newest_artifact(tmp_path) == tmp_path / "b"


def test_invalid_and_unfinished_artifacts_are_passed_over_with_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_artifact(tmp_path / "good", age_days=2)
    edit_manifest(make_artifact(tmp_path / "forged"), lambda plain: plain.update(name="x"), reseal=False)
    edit_manifest(make_artifact(tmp_path / "tomorrow"), lambda plain: plain.update(schema_version=9))
    make_artifact(tmp_path / ".good.building-abc")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert newest_artifact(tmp_path) == tmp_path / "good"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert "forged" in warnings[0]
    assert "its own hash differs" in warnings[0]
    assert "schema version 9" in warnings[1]


def test_where_there_is_none_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="moase-edge export --backbone") as caught:
            newest_artifact(root)
        assert "Not usable" not in str(caught.value)
    edit_manifest(make_artifact(tmp_path / "forged"), lambda plain: plain.update(name="x"), reseal=False)
    with pytest.raises(ConfigError, match=r"(?s)Not usable:.*forged.*its own hash differs"):
        newest_artifact(tmp_path)


def test_reading_the_manifest_alone_opens_no_other_file(folder: Path) -> None:
    for name in FILES:
        (folder / name).unlink()
    assert read_manifest(folder).name == "tiny"
    assert load_artifact(folder, verify=False).folder == folder


def test_a_folder_of_artifacts_or_a_file_of_one_names_what_may_be_meant(folder: Path) -> None:
    make_artifact(folder.parent / "other")
    (folder.parent / "empty").mkdir()
    assert f"Did you mean {folder.parent / 'other'} or {folder}?" in refused(folder.parent)
    assert f"manifest.json is a file; an artifact is a folder. Did you mean {folder}?" in refused(
        folder / MANIFEST
    )
    assert "Did you mean" not in refused(folder.parent / "empty")
    assert "no such folder" in refused(folder.parent / "absent")


def test_usable_artifacts_come_newest_first_without_the_invalid(tmp_path: Path) -> None:
    for name, age_days in ("old", 3), ("new", 1), ("older", 5):
        make_artifact(tmp_path / name, age_days=age_days)
    make_artifact(tmp_path / "broken")
    edit_manifest(tmp_path / "broken", lambda plain: plain.pop("name"))
    assert [folder.name for folder in usable_artifacts(tmp_path)] == ["new", "old", "older"]
