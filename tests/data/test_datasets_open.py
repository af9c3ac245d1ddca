"""Data sets by name or path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moase_edge.data.corruptions import corrupt
from moase_edge.data.datasets import LAYOUTS, open_dataset
from moase_edge.data.digits import digits_preprocess
from moase_edge.errors import ConfigError


def test_digits_are_the_test_half_under_constants_of_large_pictures() -> None:
    opened = open_dataset("digits")
    assert len(opened.images) == 901
    assert opened.images.names[7] == "7"
    image = opened.images[0]
    shown = opened.domain("contrast", 3).show(image.copy(), np.random.default_rng(0))
    assert np.array_equal(shown, corrupt(image, "contrast", 3, np.random.default_rng(0), constants="imagenet"))
    assert np.array_equal(opened.fit(digits_preprocess())(image), image)


def test_digits_refuse_a_model_of_other_classes() -> None:
    with pytest.raises(ConfigError, match="the model has 2 classes, the digits 10"):
        open_dataset("digits", names=["a", "b"])


def test_folder_is_opened_by_its_path(tmp_path: Path) -> None:
    for name in ("ant", "cat"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    opened = open_dataset(str(tmp_path), names=["cat", "ant"])
    assert opened.images.labels.tolist() == [1, 0]
    assert opened.name == tmp_path.name


@pytest.mark.parametrize(("layout", "classes"), [("cifar10c", 10), ("cifar100c", 100)])
def test_published_layouts_are_named_before_their_folder(tmp_path: Path, layout: str, classes: int) -> None:
    np.save(tmp_path / "labels.npy", np.zeros(10, np.int64))
    np.save(tmp_path / "fog.npy", np.zeros((10, 32, 32, 3), np.uint8))
    opened = open_dataset(f"{layout}:{tmp_path}")
    assert len(opened.images.names) == classes
    assert opened.domain("fog", 5).severity == 5


def test_imagenet_c_is_named_before_its_folder(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        (tmp_path / "fog" / "5" / name).mkdir(parents=True)
        Image.new("RGB", (224, 224)).save(tmp_path / "fog" / "5" / name / "a.JPEG")
    assert open_dataset(f"imagenetc:{tmp_path}").images.labels.tolist() == [0, 1]


@pytest.mark.parametrize("place", ["nowhere", "cifar10:nowhere", "imagenetc:nowhere", "imagenetc:", ""])
def test_what_is_no_data_set_is_refused_with_all_forms(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forms = ", ".join(f"{layout}:FOLDER" for layout in LAYOUTS)
    with pytest.raises(ConfigError, match=f"'{place}' is no data set.*expected digits, FOLDER, {forms}"):
        open_dataset(place)
