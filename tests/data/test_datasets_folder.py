"""Folders of labelled pictures."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from moase_edge.data.datasets import open_folder
from moase_edge.data.datasets.picture_file import check_picture, read_picture
from moase_edge.data.protocols.by_domain import continual
from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.picture import decode_picture


def noise(height: int = 6, width: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: NDArray[np.uint8] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if image is None else image).save(path)
    return path


def class_folders(root: Path, **files: int) -> Path:
    """A folder a class with so many pictures; pictures differ in size and content."""
    for place, (name, count) in enumerate(files.items()):
        for index in range(count):
            save(root / name / f"{index}.png", noise(20 + index, 16 + place, seed=10 * place + index))
    return root


def labelled(root: Path, labels: dict[str, object], pictures: tuple[str, ...] | None = None) -> Path:
    """Pictures with a labels.json."""
    for seed, name in enumerate(labels if pictures is None else pictures):
        save(root / name, noise(seed=seed))
    (root / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return root


def test_class_folders_sorted_by_name_are_the_classes(tmp_path: Path) -> None:
    opened = open_folder(class_folders(tmp_path, dog=2, ant=1, cat=3))
    assert opened.images.names == ("ant", "cat", "dog")
    assert opened.images.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert opened.images.ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert opened.left_out == {"undecodable": 0, "unlabelled": 0}
    assert opened.files == ("ant/0.png", "cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png")
    assert not opened.cropped


def test_pictures_of_different_sizes_are_decoded_to_what_was_saved(tmp_path: Path) -> None:
    images = open_folder(class_folders(tmp_path, ant=2, cat=1)).images
    assert np.array_equal(images[1], noise(21, 16, seed=1))
    assert np.array_equal(images[2], noise(20, 17, seed=10))


def test_pictures_are_read_when_they_are_asked_for_and_not_kept(tmp_path: Path) -> None:
    images = open_folder(class_folders(tmp_path, ant=2, cat=1)).images
    save(tmp_path / "ant" / "1.png", noise(5, 5, seed=77))
    assert np.array_equal(images[1], noise(5, 5, seed=77))


def test_folders_named_as_the_models_classes_take_their_indices(tmp_path: Path) -> None:
    opened = open_folder(class_folders(tmp_path, dog=1, ant=1), names=["dog", "cow", "ant"])
    assert opened.images.labels.tolist() == [2, 0]
    assert opened.images.names == ("dog", "cow", "ant")


def test_as_many_folders_as_classes_are_taken_in_order_whatever_their_names(tmp_path: Path) -> None:
    opened = open_folder(class_folders(tmp_path, n02=1, n01=2), names=["tench", "goldfish"])
    assert opened.images.labels.tolist() == [0, 0, 1]
    assert opened.images.names == ("tench", "goldfish")


def test_folders_that_fit_neither_names_nor_number_of_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 class folders and the model 3 classes.*'cat'.*labels\.json"):
        open_folder(class_folders(tmp_path, ant=1, cat=1), names=["ant", "bee", "cow"])


def test_hidden_entries_and_other_files_are_ignored(tmp_path: Path) -> None:
    root = class_folders(tmp_path, ant=1, cat=1)
    save(root / ".thumbnails" / "a.png")
    save(root / "ant" / ".hidden.png")
    (root / "ant" / "notes.txt").write_text("no picture")
    (root / "cat" / "folder.png").mkdir()
    assert len(open_folder(root).images) == 2


def test_labels_json_maps_files_to_classes_in_order_of_names(tmp_path: Path) -> None:
    opened = open_folder(labelled(tmp_path, {"b.png": 2, "a.jpg": 0, "sub/c.png": 2}))
    assert opened.images.labels.tolist() == [0, 2, 2]
    assert opened.images.names == ("0", "1", "2")
    assert np.array_equal(opened.images[1], noise(seed=0))


def test_labels_json_goes_before_class_folders(tmp_path: Path) -> None:
    root = class_folders(tmp_path, ant=1, cat=1)
    (root / "labels.json").write_text('{"ant/0.png": 4, "cat/0.png": 1}')
    assert open_folder(root, names=list("abcde")).images.labels.tolist() == [4, 1]


def test_pictures_without_a_label_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = labelled(tmp_path, {"a.png": 0, "b.png": 1}, ("a.png", "b.png", "c.png", "d.png"))
    with caplog.at_level(logging.WARNING):
        opened = open_folder(root)
    assert len(opened.images) == 2
    assert opened.left_out["unlabelled"] == 2
    assert "2 pictures" in caplog.text


def test_damaged_files_are_left_out_logged_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = class_folders(tmp_path, ant=12, cat=9)
    cut = save(root / "ant" / "cut.jpg", noise(40, 40))
    cut.write_bytes(cut.read_bytes()[:-400])
    (root / "cat" / "text.png").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        opened = open_folder(root)
    assert opened.left_out["undecodable"] == 2
    assert len(opened.images) == 21
    assert opened.images.ids.tolist() == list(range(21))
    assert [opened.images[index].shape[1] for index in range(21)] == [16] * 12 + [17] * 9
    assert "cut.jpg" in caplog.text
    assert "text.png" in caplog.text


def test_exactly_a_tenth_of_damaged_files_is_borne_and_more_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, ant=4, cat=5)
    (root / "cat" / "x.png").write_bytes(b"")
    assert open_folder(root).left_out["undecodable"] == 1
    (root / "cat" / "y.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"2 of 11 files.*more than a tenth.*x\.png"):
        open_folder(root)


def test_one_class_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 class folder;.*at least two classes"):
        open_folder(class_folders(tmp_path, ant=3))


def test_labels_of_one_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"all 2 pictures of .* are of class 7"):
        open_folder(labelled(tmp_path, {"a.png": 7, "b.png": 7}))


def test_class_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, ant=1, cat=1)
    (root / "bee").mkdir()
    with pytest.raises(ConfigError, match=r"1 of 3 class folders.*no picture \('bee'\)"):
        open_folder(root)


@pytest.mark.parametrize("folders", [(), ("ant", "cat")])
def test_folder_without_pictures_is_refused(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="holds no labelled picture; expected class folders"):
        open_folder(tmp_path)


def test_pictures_without_any_labels_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"0 class folders.*labels\.json"):
        open_folder(tmp_path)


def test_empty_labels_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no labelled picture"):
        open_folder(labelled(tmp_path, {}))


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere cannot be read: No such file or directory"):
        open_folder(tmp_path / "nowhere")


def test_label_beyond_the_models_classes_is_refused(tmp_path: Path) -> None:
    root = labelled(tmp_path, {"a.png": 0, "b.png": 3})
    with pytest.raises(ConfigError, match=r"'b\.png' the class 3; expected 0 to 2, an index into the model's 3"):
        open_folder(root, names=["x", "y", "z"])


@pytest.mark.parametrize("label", [-1, 10**9])
def test_label_that_no_model_has_is_refused_without_the_models_classes(tmp_path: Path, label: int) -> None:
    with pytest.raises(ConfigError, match=f"the class {label}; expected 0 to 99999"):
        open_folder(labelled(tmp_path, {"a.png": 0, "b.png": label}))


def test_files_that_labels_json_names_must_be_there(tmp_path: Path) -> None:
    labels: dict[str, object] = {"a.png": 0, **{f"gone{index}.png": 1 for index in range(5)}}
    with pytest.raises(
        ConfigError, match=r"5 of 6 files that are not there \('gone0\.png', .*'gone2\.png', \.\.\.\)"
    ):
        open_folder(labelled(tmp_path, labels, ("a.png",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ('{"a.png": 0', "cannot be read as JSON"),
        ('["a.png"]', "holds a JSON list"),
        ('{"a.png": "cat"}', "'a.png' the class 'cat'"),
        ('{"a.png": true}', "'a.png' the class True"),
        ('{"a.png": 1.0}', r"'a.png' the class 1\.0"),
        ('{"a.png": {"b": 1}}', "the class {'b': 1}"),
    ],
)
def test_damaged_labels_json_says_what_is_expected(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{message}.*; expected an object that maps file names"):
        open_folder(tmp_path)


def test_domains_are_computed_on_what_the_folder_holds(tmp_path: Path) -> None:
    opened = open_folder(class_folders(tmp_path, ant=2, cat=2))
    frames = list(continual(opened.images, opened.domains(["clean", "contrast"], 3), seed=0))
    assert [frame.domain for frame in frames] == ["clean"] * 4 + ["contrast"] * 4
    clean = {frame.picture: frame.image for frame in frames[:4]}
    for frame in frames[4:]:
        assert frame.image.std() < 0.8 * clean[frame.picture].std()
    with pytest.raises(ConfigError, match="did you mean 'contrast'"):
        opened.domain("contrst", 3)


def modes() -> list[Image.Image]:
    rgb = Image.fromarray(noise())
    deep = Image.fromarray(np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300)
    palette = rgb.quantize(8)
    palette.info["transparency"] = 0
    return [rgb, rgb.convert("L"), rgb.convert("RGBA"), rgb.convert("1"), rgb.convert("LA"), palette, deep]


@pytest.mark.parametrize("picture", modes(), ids=lambda picture: picture.mode)
def test_files_are_decoded_as_run_decodes_them(tmp_path: Path, picture: Image.Image) -> None:
    path = tmp_path / "a.png"
    picture.save(path)
    check_picture(path)
    decoded = read_picture(path)
    assert decoded.shape == (6, 8, 3)
    assert np.array_equal(decoded, decode_picture(path)[0])


def test_picture_is_turned_upright_by_its_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.fromarray(noise()).save(path, exif=exif)
    assert read_picture(path).shape == (8, 6, 3)
    assert np.array_equal(read_picture(path), decode_picture(path)[0])


def damaged(path: Path, kind: str) -> Path:
    if kind == "floats":
        Image.fromarray(np.zeros((2, 2), np.float32)).save(path.with_suffix(".tif"))
        return path.with_suffix(".tif")
    if kind == "32 bits":
        Image.fromarray(np.full((2, 2), 2**20, np.int32)).save(path.with_suffix(".tif"))
        return path.with_suffix(".tif")
    if kind == "missing":
        return path
    save(path, noise(64, 64))
    content = {"empty": b"", "text": b"hello", "cut": path.read_bytes()[:-900]}
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "missing", "floats", "32 bits"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_check_finds_what_cannot_be_decoded(tmp_path: Path, kind: str, suffix: str) -> None:
    path = damaged(tmp_path / f"a{suffix}", kind)
    for reading in (check_picture, read_picture):
        with pytest.raises(SourceError, match=r"a\.\w+ cannot be decoded as a picture .*; replace it"):
            reading(path)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", noise(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for reading in (check_picture, read_picture):
        with pytest.raises(SourceError, match="DecompressionBomb"):
            reading(path)


@pytest.mark.data
def test_photographs_are_opened_with_their_classes(data_folder: Path) -> None:
    opened = open_folder(data_folder / "photos", names=[str(label) for label in range(1000)])
    assert len(opened.images) == len(set(opened.images.labels.tolist())) == 400
    assert opened.left_out == {"undecodable": 0, "unlabelled": 0}
    assert opened.images[0].shape == (256, 256, 3)
    assert opened.images.labels[0] == 2  # 0002.jpg
