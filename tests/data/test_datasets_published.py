"""CIFAR-10-C, CIFAR-100-C and ImageNet-C in their published layouts, written small."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.datasets import DataSet, open_cifar_c, open_imagenet_c
from moase_edge.data.labelled import Domain
from moase_edge.data.protocols import make_protocol
from moase_edge.data.selection import split
from moase_edge.errors import ConfigError, SourceError

COUNT = 4  # pictures of a severity, 10000 as published
LABELS = np.array([3, 0, 9, 3])
CORRUPTIONS = ("fog", "gaussian_noise", "invented")


def stacked(offset: int, severities: int = 5) -> NDArray[np.uint8]:
    """Picture i at severity s is filled with offset + 10 * s + i."""
    values = [offset + 10 * severity + index for severity in range(1, severities + 1) for index in range(COUNT)]
    return np.tile(np.array(values, np.uint8)[:, None, None, None], (1, 32, 32, 3))


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels.npy", np.tile(LABELS, 5))
    for place, name in enumerate(CORRUPTIONS):
        np.save(tmp_path / f"{name}.npy", stacked(60 * place))
    return tmp_path


def values(domain: Domain) -> list[int]:
    assert domain.pictures is not None
    return [int(domain.pictures[index][0, 0, 0]) for index in range(len(domain.pictures))]


def test_cifar_domains_are_read_from_their_severity(cifar: Path) -> None:
    opened = open_cifar_c(cifar, classes=10)
    assert values(opened.domain("fog", 1)) == [10, 11, 12, 13]
    assert values(opened.domain("gaussian_noise", 5)) == [110, 111, 112, 113]
    fog = opened.domain("fog", 5)
    assert (fog.name, fog.severity) == ("fog", 5)
    assert fog.at is not None
    assert values(fog.at(2)) == [20, 21, 22, 23]


def test_cifar_pictures_have_the_labels_of_one_severity(cifar: Path) -> None:
    images = open_cifar_c(cifar, classes=10).images
    assert images.labels.tolist() == LABELS.tolist()
    assert images.labels.dtype == np.int64
    assert images.names[3] == "cat"
    assert images.ids.tolist() == [0, 1, 2, 3]


def test_cifar_100_has_a_hundred_classes(cifar: Path) -> None:
    np.save(cifar / "labels.npy", np.tile(np.array([99, 0, 5, 7], np.uint8), 5))
    images = open_cifar_c(cifar, classes=100).images
    assert len(images.names) == 100
    assert images.labels.tolist() == [99, 0, 5, 7]


def test_picture_outside_a_severity_is_no_picture_of_the_next(cifar: Path) -> None:
    fog = open_cifar_c(cifar, classes=10).domain("fog", 1)
    assert fog.pictures is not None
    with pytest.raises(IndexError):
        fog.pictures[COUNT]


@pytest.mark.parametrize(
    "protocol", ["continual", "gradual", "mixed", "class_sorted", "dirichlet", "cyclic", "jumps", "clips"]
)
def test_protocols_serve_domains_from_disk(cifar: Path, protocol: str) -> None:
    opened = open_cifar_c(cifar, classes=10)
    stream = make_protocol(protocol, opened.images, opened.domains(["fog", "gaussian_noise"], 3), seed=0)
    for frame in pickle.loads(pickle.dumps(stream)):
        assert frame.severity is not None
        offset = {"fog": 0, "gaussian_noise": 60}[frame.domain]
        assert (frame.image == offset + 10 * frame.severity + frame.picture).all()
        assert frame.label == LABELS[frame.picture]


def test_parts_of_a_set_go_with_its_domains(cifar: Path) -> None:
    opened = open_cifar_c(cifar, classes=10)
    source, rest = split(opened.images, 1, seed=0)
    frames = list(make_protocol("continual", rest, [opened.domain("fog", 2)], seed=0))
    assert {frame.picture for frame in frames} == set(range(4)) - set(source.ids.tolist())
    assert all(frame.image[0, 0, 0] == 20 + frame.picture for frame in frames)


def test_set_without_clean_pictures_says_so_when_they_are_wanted(cifar: Path) -> None:
    opened = open_cifar_c(cifar, classes=10)
    with pytest.raises(ConfigError, match=r"no clean pictures.*clean\.npy"):
        opened.domain("clean", 5)
    with pytest.raises(ConfigError, match=r"no clean pictures.*clean\.npy"):
        opened.images[0]


def test_clean_pictures_may_stand_beside(cifar: Path) -> None:
    np.save(cifar / "clean.npy", stacked(200, severities=1))
    opened = open_cifar_c(cifar, classes=10)
    frames = list(make_protocol("continual", opened.images, opened.domains(["clean", "fog"], 1), seed=0))
    assert [frame.image[0, 0, 0] - frame.picture for frame in frames] == [210] * 4 + [10] * 4


def test_cifar_pictures_are_fitted_whole(cifar: Path) -> None:
    spec = PreprocessSpec(height=64, width=64, crop_pct=0.5, mean=(0, 0, 0), std=(1, 1, 1))
    picture = stacked(0)[0]
    picture[:2] = 255
    fitted = open_cifar_c(cifar, classes=10).fit(spec)(picture)
    assert fitted.shape == (64, 64, 3)
    assert (fitted[0] > 200).all()


def test_unknown_corruption_is_refused_with_the_nearest_and_those_on_disk(cifar: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'fogg'.*did you mean 'fog'\? expected one of gaussian_noise, fog, invented"
    ):
        open_cifar_c(cifar, classes=10).domain("fogg", 5)


def test_known_corruption_that_is_not_on_disk_is_refused(cifar: Path) -> None:
    with pytest.raises(ConfigError, match=r"'snow' does not exist; expected one of gaussian_noise, fog"):
        open_cifar_c(cifar, classes=10).domain("snow", 5)


def test_severity_out_of_range_is_refused(cifar: Path) -> None:
    with pytest.raises(ConfigError, match="severity is 6"):
        open_cifar_c(cifar, classes=10).domain("fog", 6)


@pytest.mark.parametrize("kept", [0, 5, 60, 127, 200, 5000])
def test_empty_or_truncated_array_is_refused(cifar: Path, kept: int) -> None:
    path = cifar / "fog.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SourceError, match=rf"fog\.npy \({kept} bytes\).*empty, truncated.*unpack the set again"):
        open_cifar_c(cifar, classes=10).domain("fog", 5)


def test_what_is_no_array_is_refused(cifar: Path) -> None:
    (cifar / "fog.npy").write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(SourceError, match=r"fog\.npy"):
        open_cifar_c(cifar, classes=10).domain("fog", 5)


def test_pictures_of_mixed_sizes_in_one_array_are_refused_and_never_unpickled(cifar: Path) -> None:
    mixed = np.empty(20, object)
    mixed[:] = [np.zeros((32 + index, 32, 3), np.uint8) for index in range(20)]
    np.save(cifar / "fog.npy", mixed, allow_pickle=True)
    with pytest.raises(SourceError, match=r"fog\.npy.*differ in size"):
        open_cifar_c(cifar, classes=10).domain("fog", 5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 32, 32, 3), np.float32), r"float32; expected N x 32 x 32 x 3, uint8"),
        (np.zeros((20, 3, 32, 32), np.uint8), r"\(20, 3, 32, 32\).*expected N x 32 x 32 x 3"),
        (np.zeros((20, 3072), np.uint8), r"\(20, 3072\)"),
        (np.zeros((15, 32, 32, 3), np.uint8), r"15 pictures; labels\.npy asks for 20"),
    ],
)
def test_array_of_another_form_is_refused(cifar: Path, array: NDArray[np.generic], message: str) -> None:
    np.save(cifar / "fog.npy", array)
    with pytest.raises(ConfigError, match=message):
        open_cifar_c(cifar, classes=10).domain("fog", 5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.tile(LABELS, 5)[:-1], r"\(19,\).*expected 50000 whole numbers"),
        (np.tile(LABELS, 5).astype(float), "float64"),
        (np.tile(LABELS, 5)[:, None], r"\(20, 1\)"),
        (np.arange(20) % 7, "differs between severities"),
        (np.tile([3, 0, 10, 3], 5), r"labels from 0 to 10; expected 0 to 9.*other number of classes"),
        (np.tile([3, 0, -1, 3], 5), "labels from -1"),
    ],
)
def test_labels_of_another_form_are_refused(cifar: Path, labels: NDArray[np.generic], message: str) -> None:
    np.save(cifar / "labels.npy", labels)
    with pytest.raises(ConfigError, match=message):
        open_cifar_c(cifar, classes=10)


def test_empty_labels_file_is_refused(cifar: Path) -> None:
    (cifar / "labels.npy").write_bytes(b"")
    with pytest.raises(SourceError, match=r"labels\.npy \(0 bytes\)"):
        open_cifar_c(cifar, classes=10)


def test_folder_without_labels_is_refused(cifar: Path) -> None:
    (cifar / "labels.npy").unlink()
    with pytest.raises(
        ConfigError, match=r"labels\.npy is not there; expected the folder of an unpacked CIFAR-10-C"
    ):
        open_cifar_c(cifar, classes=10)


def test_folder_without_corruptions_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.tile(LABELS, 5))
    with pytest.raises(ConfigError, match=r"holds no corruption; expected files such as gaussian_noise\.npy"):
        open_cifar_c(tmp_path, classes=10)


def test_model_of_other_classes_is_refused(cifar: Path) -> None:
    with pytest.raises(ConfigError, match="the model has 1000 classes, the data set 10"):
        open_cifar_c(cifar, classes=10, names=[str(label) for label in range(1000)])


def test_clean_pictures_must_be_as_many_as_labels(cifar: Path) -> None:
    np.save(cifar / "clean.npy", stacked(0, severities=2))
    with pytest.raises(ConfigError, match=r"clean\.npy has 8 pictures; labels\.npy asks for 4"):
        open_cifar_c(cifar, classes=10)


# ImageNet-C

FILES = ("n01/a.JPEG", "n01/b.JPEG", "n02/c.JPEG")


def fill(folder: Path, value: int, size: int = 224, files: tuple[str, ...] = FILES) -> None:
    """Flat pictures of the levels value, value + 8, value + 16."""
    for index, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size + 2 * (size != 224)), (value + 8 * index,) * 3).save(
            folder / file, quality=95
        )


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for severity in (3, 5):
        fill(tmp_path / "snow" / str(severity), 10 * severity)
    fill(tmp_path / "fog" / "5", 150)
    return tmp_path


def levels(opened: DataSet, name: str, severity: int) -> list[int]:
    return values(opened.domain(name, severity))


def test_imagenet_domains_are_read_from_their_folders(imagenet: Path) -> None:
    opened = open_imagenet_c(imagenet)
    assert opened.images.labels.tolist() == [0, 0, 1]
    assert opened.images.names == ("n01", "n02")
    assert levels(opened, "snow", 3) == [30, 38, 46]
    assert levels(opened, "fog", 5) == [150, 158, 166]
    snow = opened.domain("snow", 5)
    assert snow.at is not None
    assert values(snow.at(3)) == [30, 38, 46]
    frames = list(make_protocol("mixed", opened.images, opened.domains(["fog", "snow"], 5), seed=0))
    assert all(
        frame.image[0, 0, 0] == {"fog": 150, "snow": 50}[frame.domain] + 8 * frame.picture for frame in frames
    )
    assert all(frame.label == [0, 0, 1][frame.picture] for frame in frames)


def test_imagenet_stream_travels_to_another_process(imagenet: Path) -> None:
    opened = open_imagenet_c(imagenet)
    stream = make_protocol("continual", opened.images, [opened.domain("fog", 5)], seed=0)
    again = pickle.loads(pickle.dumps(stream))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(stream, again, strict=True))


def test_imagenet_pictures_are_fitted_whole(imagenet: Path) -> None:
    spec = PreprocessSpec(height=224, width=224, crop_pct=0.875, mean=(0, 0, 0), std=(1, 1, 1))
    opened = open_imagenet_c(imagenet)
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert np.array_equal(opened.fit(spec)(image), image)


def test_model_with_its_own_names_takes_class_folders_in_order(imagenet: Path) -> None:
    opened = open_imagenet_c(imagenet, names=["tench", "goldfish"])
    assert opened.images.names == ("tench", "goldfish")
    with pytest.raises(ConfigError, match="2 class folders and the model 1000 classes"):
        open_imagenet_c(imagenet, names=[str(label) for label in range(1000)])


def test_clean_imagenet_pictures_are_cut_as_the_published_ones(imagenet: Path) -> None:
    with pytest.raises(ConfigError, match="no clean pictures"):
        open_imagenet_c(imagenet).domain("clean", 5)
    fill(imagenet / "clean", 90, size=300)
    opened = open_imagenet_c(imagenet)
    [frame, *_] = make_protocol("continual", opened.images, [opened.domain("clean", 5)], seed=0)
    assert frame.image.shape == (224, 224, 3)
    assert frame.image[0, 0, 0] == 90 + 8 * frame.picture


def test_clean_imagenet_pictures_that_were_cut_already_are_kept(imagenet: Path) -> None:
    fill(imagenet / "clean", 90)
    cut = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(cut).save(imagenet / "clean" / "n01" / "b.JPEG", "PNG")
    assert np.array_equal(open_imagenet_c(imagenet).images[1], cut)


def test_unknown_imagenet_corruption_is_refused_with_those_on_disk(imagenet: Path) -> None:
    with pytest.raises(ConfigError, match=r"'snwo'.*did you mean 'snow'\? expected one of snow, fog"):
        open_imagenet_c(imagenet).domain("snwo", 5)


def test_severity_that_is_not_on_disk_is_refused_with_those_there_are(imagenet: Path) -> None:
    with pytest.raises(ConfigError, match="no severity 4; there are 3, 5"):
        open_imagenet_c(imagenet).domain("snow", 4)


def test_domain_that_lacks_files_is_refused(imagenet: Path) -> None:
    (imagenet / "fog" / "5" / "n01" / "b.JPEG").unlink()
    with pytest.raises(ConfigError, match=r"lacks 1 files of .* and has 0 others \(first: n01/b\.JPEG\)"):
        open_imagenet_c(imagenet).domain("fog", 5)


def test_one_imagenet_class_is_refused(imagenet: Path) -> None:
    for folder in imagenet.glob("*/*/n02"):
        shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="1 class folder;"):
        open_imagenet_c(imagenet)


def test_imagenet_classes_without_pictures_are_refused(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        (tmp_path / "fog" / "5" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match="all 0 pictures"):
        open_imagenet_c(tmp_path)


def test_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 50)
    with pytest.raises(
        ConfigError, match="holds no corruption; expected folders such as gaussian_noise/5/n01440764"
    ):
        open_imagenet_c(tmp_path)


def test_damaged_imagenet_picture_is_named_when_it_is_read(imagenet: Path) -> None:
    (imagenet / "fog" / "5" / "n01" / "a.JPEG").write_bytes(b"")
    fog = open_imagenet_c(imagenet).domain("fog", 5)
    assert fog.pictures is not None
    with pytest.raises(SourceError, match=r"a\.JPEG cannot be decoded"):
        fog.pictures[0]
