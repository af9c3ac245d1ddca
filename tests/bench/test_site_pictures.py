"""Labelled pictures of one's own: their order, their labels, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.bench.site_pictures import MIN_PICTURES, camera_order, open_site
from moase_edge.errors import ArtifactError, ConfigError, SourceError
from moase_edge.frames.preprocess import Preprocessor

COUNT = 12


def save(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (50, 40), (level, 90, 200)).save(path)
    return path


def in_class_folders(root: Path, names: tuple[str, ...] = ("3", "7"), count: int = COUNT) -> Path:
    """Pictures in turn in each folder; picture i has the red level i."""
    for index in range(count):
        save(root / names[index % len(names)] / f"{index:03}.png", index)
    return root


def changed(artifact: Artifact, *, classes: int | None = None, labels: tuple[str, ...] | None = None) -> Artifact:
    """The artifact with another number of classes or other names of them in its manifest."""
    manifest = artifact.manifest
    sidecar = manifest.sidecar if classes is None else manifest.sidecar.model_copy(update={"classes": classes})
    return Artifact(artifact.folder, manifest.model_copy(update={"sidecar": sidecar, "labels": labels}))


@pytest.fixture(scope="module")
def artifact(digits_artifact: Path) -> Artifact:
    return load_artifact(digits_artifact, verify=False)


def test_the_camera_s_order_is_that_of_the_files_across_class_folders() -> None:
    files = ["cat/1.png", "cat/3.png", "dog/0.png", "dog/3.png", "dog/2.png"]
    assert [files[i] for i in camera_order(files, by_path=False)] == [
        "dog/0.png",
        "cat/1.png",
        "dog/2.png",
        "cat/3.png",
        "dog/3.png",
    ]
    days = ["monday/9.png", "monday/1.png", "friday/5.png"]
    assert [days[i] for i in camera_order(days, by_path=True)] == ["friday/5.png", "monday/1.png", "monday/9.png"]


def test_frames_come_in_the_camera_s_order_with_the_class_of_their_folder(
    artifact: Artifact, tmp_path: Path
) -> None:
    site = open_site(in_class_folders(tmp_path), artifact)
    assert site.files == tuple(f"{'37'[index % 2]}/{index:03}.png" for index in range(COUNT))
    assert [frame.label for frame in site.frames] == [3, 7] * (COUNT // 2)
    assert [frame.picture for frame in site.frames] == list(range(COUNT))
    assert [int(frame.image[0, 0, 0]) for frame in site.frames] == list(range(COUNT))
    assert not site.by_position


def test_the_model_sees_what_run_would_show_it(artifact: Artifact, tmp_path: Path) -> None:
    site = open_site(in_class_folders(tmp_path), artifact)
    spec = artifact.manifest.preprocess
    for frame, file in zip(site.frames, site.files, strict=True):
        shown = Preprocessor(spec)(np.asarray(Image.open(tmp_path / file)))
        assert np.array_equal(site.preprocessor(frame.image), shown)


def test_a_labels_file_names_classes_and_the_order_of_its_paths(artifact: Artifact, tmp_path: Path) -> None:
    labels = {f"{day}/{index}.png": index for day in ("tuesday", "monday") for index in range(5)}
    for file in labels:
        save(tmp_path / file)
    save(tmp_path / "unlabelled.png")
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    site = open_site(tmp_path, artifact)
    assert site.files == tuple(sorted(labels))
    assert [frame.label for frame in site.frames] == [0, 1, 2, 3, 4] * 2
    assert (site.left_out["unlabelled"], site.by_position) == (1, False)


def test_classes_without_names_are_numbers_and_never_taken_by_position(artifact: Artifact, tmp_path: Path) -> None:
    unnamed = changed(artifact, labels=None)
    site = open_site(in_class_folders(tmp_path / "numbers", ("9", "0")), unnamed)
    assert [frame.label for frame in site.frames] == [9, 0] * (COUNT // 2)
    with pytest.raises(ConfigError, match="2 class folders and the model 10 classes"):
        open_site(in_class_folders(tmp_path / "words", ("cat", "dog")), unnamed)


def test_as_many_folders_of_other_names_are_taken_in_order_and_it_is_told(
    artifact: Artifact, tmp_path: Path
) -> None:
    site = open_site(
        in_class_folders(tmp_path, ("dog", "cat")), changed(artifact, classes=2, labels=("hund", "katze"))
    )
    assert [frame.label for frame in site.frames] == [1, 0] * (COUNT // 2)
    assert site.by_position


def one_class(root: Path) -> None:
    in_class_folders(root, ("3",))


def no_pictures(root: Path) -> None:
    root.mkdir()


def empty_folders(root: Path) -> None:
    for name in "37":
        (root / name).mkdir(parents=True)


def too_few(root: Path) -> None:
    in_class_folders(root, count=MIN_PICTURES - 1)


def too_large_a_class(root: Path) -> None:
    labels = {f"{index}.png": index for index in range(11)}
    for file in labels:
        save(root / file)
    (root / "labels.json").write_text(json.dumps(labels))


def stranger(root: Path) -> None:
    in_class_folders(root, ("3", "zebra"))


def damaged(root: Path) -> None:
    in_class_folders(root)
    for index in range(2):
        (root / "3" / f"broken-{index}.png").write_bytes(b"\x89PNG")


def a_file(root: Path) -> None:
    save(root.with_suffix(".png")).rename(root)


def nothing(root: Path) -> None:
    """No folder at all."""


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (one_class, ConfigError, "at least two classes"),
        (no_pictures, ConfigError, "no labelled picture"),
        (empty_folders, ConfigError, "no labelled picture"),
        (too_few, ConfigError, "9 labelled pictures; expected at least 10"),
        (too_large_a_class, ConfigError, "the class 10; expected 0 to 9"),
        (stranger, ConfigError, "'zebra'"),
        (damaged, SourceError, "more than a tenth"),
        (a_file, SourceError, "give a folder of labelled pictures"),
        (nothing, SourceError, "give a folder of labelled pictures"),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    make: Any, error: type[Exception], words: str, artifact: Artifact, tmp_path: Path
) -> None:
    make(tmp_path / "pictures")
    with pytest.raises(error, match=words):
        open_site(tmp_path / "pictures", artifact)


def test_as_many_pictures_as_are_asked_for_are_enough(artifact: Artifact, tmp_path: Path) -> None:
    assert len(open_site(in_class_folders(tmp_path, count=MIN_PICTURES), artifact).frames) == MIN_PICTURES


def test_a_folder_called_as_a_data_set_is_the_user_s_own(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_class_folders(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(open_site(Path("digits"), artifact).frames) == COUNT
    shutil.rmtree(tmp_path / "digits")
    with pytest.raises(SourceError):
        open_site(Path("digits"), artifact)


def test_a_model_without_a_head_is_refused_before_any_picture_is_read(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="no head"):
        open_site(Path("absent"), changed(artifact, classes=0))
