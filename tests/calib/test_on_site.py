"""`calibrate_source`: a new artifact in the old one's place, or the old one as it was."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact import files, replace, swap
from moase_edge.artifact.source_statistics import SOURCE_STATISTICS_FILE, load_source_statistics
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact
from moase_edge.calib import on_site
from moase_edge.calib.on_site import calibrate_source
from moase_edge.calib.source_data import open_source_data
from moase_edge.errors import ArtifactError, CalibrationError, ConfigError, StorageError
from tests.artifact.halves import add_halves
from tests.cli.commands import write_pictures


@pytest.fixture
def folder(digits_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_artifact, tmp_path / "artifacts" / "digits"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 4)


def calibrate(folder: Path, pictures: Path, **options: Any) -> Artifact:
    return calibrate_source(load_artifact(folder), open_source_data(str(pictures)), **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_statistics_are_added_and_every_other_file_stays_as_it_was(folder: Path, pictures: Path) -> None:
    before, manifest = content(folder), load_artifact(folder).manifest
    written = calibrate(folder, pictures)
    after = content(folder)
    assert after.keys() - before.keys() == {SOURCE_STATISTICS_FILE}
    assert {name for name in before if before[name] != after[name]} == {MANIFEST}
    assert load_artifact(folder) == written
    entry = written.manifest.statistics_at("fp32")
    assert entry is not None
    assert (entry.data, entry.count, entry.precision, entry.command) == ("pictures", 4, "fp32", "calibrate")
    kept = {"source_statistics", "files", "manifest_sha256"}
    assert written.manifest.model_dump(exclude=kept) == manifest.model_dump(exclude=kept)
    statistics = load_source_statistics(written)
    assert statistics is not None
    assert statistics.count == 4
    assert statistics.features.mean.shape == (64,)
    assert statistics.features.std.max() > 0
    assert [path.name for path in folder.parent.iterdir()] == ["digits"]


def test_every_precision_gets_statistics_of_its_own_from_the_same_images(
    folder: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_halves(folder)
    (pictures / "broken.png").write_bytes(b"no picture")
    written = calibrate(folder, pictures)
    entries = {entry.precision: entry for entry in written.manifest.source_statistics}
    assert {name: entry.count for name, entry in entries.items()} == {"fp32": 4, "fp16": 4, "bf16": 4}
    assert "every" not in entries["fp32"].engine
    for precision in ("fp16", "bf16"):
        assert entries[precision].engine.endswith(f"every {precision} value rounded")
    exact, half, coarse = (load_source_statistics(written, name) for name in ("fp32", "fp16", "bf16"))
    assert exact is not None
    assert half is not None
    assert coarse is not None
    near, far = (abs(one.mid.mean - exact.mid.mean).max() for one in (half, coarse))
    assert 0 < near < far < 0.1
    assert caplog.text.count("could not be decoded; the statistics are of the other 4") == 1


def test_what_a_precision_lacks_is_added_and_the_rest_stays(folder: Path, pictures: Path, tmp_path: Path) -> None:
    calibrate(folder, pictures)
    before = content(folder)[SOURCE_STATISTICS_FILE]
    add_halves(folder)
    more = write_pictures(tmp_path / "more", 5)
    written = calibrate(folder, more)
    assert content(folder)[SOURCE_STATISTICS_FILE] == before
    counts = {entry.precision: entry.count for entry in written.manifest.source_statistics}
    assert counts == {"fp32": 4, "fp16": 5, "bf16": 5}
    with pytest.raises(ConfigError, match=r"4 images of pictures and from 5 images of more\. Give --force"):
        calibrate(folder, more)


def test_without_onnx_what_can_be_shown_is_recorded_and_the_rest_is_named(
    folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_halves(folder)
    monkeypatch.setitem(sys.modules, "onnx", None)
    entries = {entry.precision: entry.engine for entry in calibrate(folder, pictures).manifest.source_statistics}
    assert entries.keys() == {"fp32", "fp16"}
    assert "rounded" not in entries["fp16"]
    assert "fp16 is shown without its rounding: that takes onnx" in caplog.text
    assert "bf16 is left out: " in caplog.text


def test_only_the_first_images_count_where_a_limit_is_given(folder: Path, pictures: Path) -> None:
    entry = calibrate(folder, pictures, max_images=3).manifest.statistics_at("fp32")
    assert entry is not None
    assert entry.count == 3


@pytest.mark.parametrize(("count", "told"), [(49, True), (50, False)])
def test_few_source_images_are_warned_of(
    count: int, told: bool, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate(folder, write_pictures(tmp_path / "many", count))
    assert ("are of 49 images: weak shifts" in caplog.text) is told


def test_undecodable_pictures_do_not_count_and_are_told_of(
    folder: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    entry = calibrate(folder, pictures).manifest.statistics_at("fp32")
    assert entry is not None
    assert entry.count == 4
    assert "1 images of" in caplog.text
    assert "the statistics are of the other 4" in caplog.text


def test_statistics_that_are_there_are_replaced_only_by_force(
    folder: Path, pictures: Path, tmp_path: Path
) -> None:
    calibrate(folder, pictures)
    before = content(folder)
    more = write_pictures(tmp_path / "more", 5)
    with pytest.raises(ConfigError, match=r"from 4 images of pictures. Give --force"):
        calibrate(folder, more)
    assert content(folder) == before
    assert [entry.count for entry in calibrate(folder, more, force=True).manifest.source_statistics] == [5]
    load_artifact(folder)


def test_files_that_nothing_vouches_for_are_kept_and_still_not_vouched_for(folder: Path, pictures: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "site.txt").write_text("north gate")
    written = calibrate(folder, pictures)
    assert (folder / "notes" / "site.txt").read_text() == "north gate"
    assert "notes/site.txt" not in written.manifest.files


def test_a_linked_artifact_is_replaced_where_it_lies(folder: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    calibrate(tmp_path / "link", pictures)
    assert (tmp_path / "link").is_symlink()
    assert load_artifact(folder).manifest.source_statistics is not None


def test_an_artifact_around_the_current_folder_is_refused(
    folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match="runs inside it"):
        calibrate(Path(), pictures)


def _interrupt(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def _no_write_access(*_arguments: object, **_options: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("place", "name", "happens", "error"),
    [
        (on_site, "write_source_statistics", _interrupt, KeyboardInterrupt),
        (replace, "_copy", _interrupt, KeyboardInterrupt),
        (replace, "write_manifest", _interrupt, KeyboardInterrupt),
        (files, "_sync", _interrupt, KeyboardInterrupt),
        (swap.tempfile, "mkdtemp", _no_write_access, StorageError),
    ],
)
def test_whatever_interrupts_it_leaves_the_old_artifact_and_nothing_else(
    place: Any,
    name: str,
    happens: Callable[..., None],
    error: type[BaseException],
    folder: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = content(folder.parent)
    monkeypatch.setattr(place, name, happens)
    with pytest.raises(error):
        calibrate(folder, pictures)
    assert content(folder.parent) == before
    assert os.listdir(folder.parent) == ["digits"]  # noqa: PTH208 - hidden ones too


def test_pictures_of_which_too_few_can_be_decoded_leave_the_old_artifact(folder: Path, pictures: Path) -> None:
    for picture in sorted(pictures.iterdir())[1:]:
        picture.write_bytes(b"no picture")
    before = content(folder)
    with pytest.raises(CalibrationError, match="got 1"):
        calibrate(folder, pictures)
    assert content(folder) == before


@pytest.mark.parametrize("name", ["backbone.onnx", MANIFEST])
def test_an_artifact_that_changes_meanwhile_is_left_alone(
    name: str, folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = on_site.write_source_statistics

    def record_and_change(*arguments: Any, **options: Any) -> Any:
        entry = record(*arguments, **options)
        with (folder / name).open("ab") as file:
            file.write(b" ")
        if name == MANIFEST:
            (folder / name).write_text("{}")
        return entry

    monkeypatch.setattr(on_site, "write_source_statistics", record_and_change)
    with pytest.raises(ArtifactError):
        calibrate(folder, pictures)
    assert not (folder / SOURCE_STATISTICS_FILE).exists()
