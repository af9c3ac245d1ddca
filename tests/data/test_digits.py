"""The demo's digits and the model that ships with them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.data import digits
from moase_edge.data.digits import (
    digits_model_arguments,
    digits_preprocess,
    digits_weights_path,
    load_digits_split,
    split_indices,
)
from moase_edge.data.labelled import LabelledImages
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.train.evaluate import normalised, top1_percent


@pytest.fixture(scope="module")
def train() -> LabelledImages:
    return load_digits_split("train")


@pytest.fixture(scope="module")
def test() -> LabelledImages:
    return load_digits_split("test")


def fingerprints(half: LabelledImages) -> set[bytes]:
    return {image.tobytes() for image in half.images}


def test_halves_have_the_stated_shapes(train: LabelledImages, test: LabelledImages) -> None:
    for half, count in ((train, 896), (test, 901)):
        assert half.images.shape == (count, 32, 32, 3)
        assert half.images.dtype == np.uint8
        assert half.labels.shape == (count,)
        assert half.labels.dtype == np.int64
        assert half.names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_no_test_picture_was_trained_on(train: LabelledImages, test: LabelledImages) -> None:
    assert not fingerprints(train) & fingerprints(test)


def test_each_class_is_cut_in_half(train: LabelledImages, test: LabelledImages) -> None:
    difference = np.bincount(test.labels, minlength=10) - np.bincount(train.labels, minlength=10)
    assert set(difference.tolist()) <= {0, 1}


def test_pictures_are_grey_digits_on_black(test: LabelledImages) -> None:
    assert np.array_equal(test.images[..., 0], test.images[..., 1])
    assert np.array_equal(test.images[..., 0], test.images[..., 2])
    assert test.images.max() == 255
    assert np.median(test.images[:, :, :2]) == 0  # the left margin


def test_enlarging_keeps_flat_parts_and_symmetry() -> None:
    small = np.zeros((8, 8), np.float32)
    small[2:6, 1:6] = 0.5
    large = digits._enlarge(small)
    assert large[16, 16].tolist() == [128, 128, 128]
    assert large[0, 0].tolist() == [0, 0, 0]
    assert np.array_equal(digits._enlarge(np.ascontiguousarray(small[:, ::-1])), large[:, ::-1])


def test_loading_twice_gives_the_same_bytes_in_the_same_order(test: LabelledImages) -> None:
    again = load_digits_split("test")
    assert np.array_equal(again.images, test.images)
    assert np.array_equal(again.labels, test.labels)


def test_test_half_is_shuffled(test: LabelledImages) -> None:
    # In scikit-learn's order the first ten are 0 to 9; sorted by class they would be all 0.
    assert test.labels[:12].tolist() == [3, 8, 8, 2, 2, 9, 5, 8, 5, 8, 3, 3]


def test_split_is_the_one_that_the_weights_were_trained_on() -> None:
    train, test = split_indices(digits._load_digits()[1])
    assert (
        hashlib.sha256(np.sort(train).astype("<i8").tobytes()).hexdigest()
        == "537fd009fd2660312ad688c24f4325f4d0def08fedc05b8c6b2ec5ef173956b8"
    )
    assert len(test) == 901


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_split_is_disjoint_complete_and_stratified(values: list[int]) -> None:
    labels = np.array(values, np.int64)
    train, test = split_indices(labels)
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label in set(values):
        assert int((labels[test] == label).sum() - (labels[train] == label).sum()) in (0, 1)


def test_unknown_split_is_refused_with_the_right_ones() -> None:
    with pytest.raises(ConfigError, match=r"'val'.*train, test"):
        load_digits_split("val")  # type: ignore[arg-type]


def test_missing_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"moase-edge\[bench\]"):
        load_digits_split("test")


def test_model_is_described_without_heavy_packages() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'timm', 'sklearn', 'cv2', 'matplotlib', 'PIL'): sys.modules[name] = None\n"
        "from moase_edge.data.digits import digits_model_arguments, digits_preprocess\n"
        "print(digits_model_arguments()['embed_dim'], digits_preprocess().height)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["64", "32"]


def test_shipped_weights_reach_the_stated_accuracy(test: LabelledImages) -> None:
    from safetensors.torch import load_file
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(**digits_model_arguments())
    model.load_state_dict(load_file(digits_weights_path()), strict=True)
    images = normalised(test.images, digits_preprocess())
    accuracy = top1_percent(model, images, torch.from_numpy(test.labels))
    card = json.loads(digits_weights_path().with_suffix(".json").read_text(encoding="utf-8"))
    assert accuracy == pytest.approx(card["accuracy"]["test_top1_percent"], abs=0.3)
    assert accuracy >= 97


def test_shipped_weights_are_small_and_the_ones_described() -> None:
    weights = digits_weights_path().read_bytes()
    card = json.loads(digits_weights_path().with_suffix(".json").read_text(encoding="utf-8"))
    assert len(weights) < 2_000_000
    assert hashlib.sha256(weights).hexdigest() == card["sha256"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"architecture": {}, "preprocess": 3}', '{"architecture": {}, "preprocess": {"width": 32}}'],
)
def test_damaged_description_says_what_to_do(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits_vit.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(digits, "ASSETS", tmp_path)
    with pytest.raises(ArtifactError, match="install it again"):
        digits_preprocess()


def test_missing_description_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "ASSETS", tmp_path)
    with pytest.raises(ArtifactError, match="install it again"):
        digits_model_arguments()
