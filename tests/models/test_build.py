from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from moase_edge.data.digits import digits_preprocess, digits_weights_path
from moase_edge.errors import CheckpointError, ConfigError
from moase_edge.models.build import Backbone, build_backbone
from tests.models.outlines import digest

pytestmark = pytest.mark.usefixtures("no_network")


def write(path: Path, name: str, **options: Any) -> Path:
    save_file(timm.create_model(name, **options).state_dict(), path)
    return path


def test_a_seed_gives_the_same_weights_again_and_another_seed_others() -> None:
    first, again, other = (
        digest(build_backbone("test_vit", pretrained=False, seed=seed).model) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_the_callers_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    build_backbone("test_vit", pretrained=False, seed=3)
    build_backbone("digits_vit", pretrained=False, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_callers_random_state_does_not_matter() -> None:
    torch.manual_seed(1)
    first = digest(build_backbone("digits_vit", pretrained=False).model)
    torch.manual_seed(2)
    assert digest(build_backbone("digits_vit", pretrained=False).model) == first


def test_the_model_is_frozen_and_in_evaluation_mode() -> None:
    backbone = build_backbone("test_vit", pretrained=False, num_classes=7)
    assert not backbone.model.training
    assert not any(weight.requires_grad for weight in backbone.model.parameters())
    assert (backbone.weights, backbone.checkpoint, backbone.labels) == ("random", None, None)
    assert (backbone.name, backbone.architecture) == ("test_vit", "test_vit")
    assert backbone.model.num_classes == 7


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_pytorch_cannot_hold_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match="a seed is from 0 to"):
        build_backbone("test_vit", pretrained=False, seed=seed)


def test_the_head_of_the_checkpoint_sets_the_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", "test_vit", num_classes=7)
    backbone = build_backbone("test_vit", checkpoint=path)
    assert backbone.model.num_classes == 7
    assert backbone.weights == "checkpoint"
    assert backbone.checkpoint == "a.safetensors"
    assert backbone.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checkpoint_without_a_head_gives_a_model_without_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", "test_vit", num_classes=0)
    assert build_backbone("test_vit", checkpoint=path).model.num_classes == 0


def test_another_number_of_classes_lists_the_head(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", "test_vit", num_classes=7)
    with pytest.raises(CheckpointError, match=r"head.weight \(\(7, 64\), the model has \(3, 64\)\)"):
        build_backbone("test_vit", checkpoint=path, num_classes=3)


def test_a_checkpoint_of_another_architecture_lists_what_differs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", "resnet18", num_classes=3)
    with pytest.raises(CheckpointError, match=r"(?s)missing: cls_token.*not part of the model: bn1"):
        build_backbone("test_vit", checkpoint=path)


def test_checkpoint_and_pretrained_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="--checkpoint and --pretrained exclude each other"):
        build_backbone("test_vit", checkpoint=Path("absent.pth"), pretrained=True)


def test_a_backbone_that_cannot_be_split_is_refused_before_its_weights_are_read() -> None:
    with pytest.raises(ConfigError, match="resnet18 cannot be split"):
        build_backbone("resnet18", checkpoint=Path("absent.pth"))


def test_a_file_name_that_is_no_unicode_is_kept_readable(tmp_path: Path) -> None:
    odd = tmp_path / "w\udcff.pth"
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), tmp_path / "a.pth")
    (tmp_path / "a.pth").rename(odd)
    assert build_backbone("test_vit", checkpoint=odd).checkpoint == "w\ufffd.pth"


@pytest.fixture(scope="module")
def shipped() -> Backbone:
    return build_backbone("digits_vit")


def test_it_comes_with_its_weights_labels_and_preprocessing(shipped: Backbone) -> None:
    assert shipped.weights == "pretrained"
    assert shipped.labels == tuple("0123456789")
    assert shipped.preprocess == digits_preprocess()
    expected = hashlib.sha256(digits_weights_path().read_bytes()).hexdigest()
    assert (shipped.checkpoint, shipped.checkpoint_sha256) == ("digits_vit.safetensors", expected)


def test_its_weights_do_not_depend_on_the_seed_and_random_ones_do(shipped: Backbone) -> None:
    assert digest(build_backbone("digits_vit", seed=5).model) == digest(shipped.model)
    random = build_backbone("digits_vit", pretrained=False)
    assert (random.weights, random.labels, random.checkpoint) == ("random", None, None)
    assert digest(random.model) != digest(shipped.model)


@pytest.mark.parametrize("num_classes", [0, 7])
def test_another_number_of_classes_than_that_of_its_weights_is_refused(num_classes: int) -> None:
    with pytest.raises(ConfigError, match=f"have 10 classes, --num-classes asks for {num_classes}"):
        build_backbone("digits_vit", num_classes=num_classes)
    assert build_backbone("digits_vit", num_classes=num_classes, pretrained=False).model.num_classes == num_classes


def test_a_checkpoint_of_it_sets_the_classes_too(tmp_path: Path) -> None:
    seven = build_backbone("digits_vit", num_classes=7, pretrained=False)
    save_file(seven.model.state_dict(), tmp_path / "seven.safetensors")
    backbone = build_backbone("digits_vit", checkpoint=tmp_path / "seven.safetensors")
    assert (backbone.weights, backbone.model.num_classes, backbone.labels) == ("checkpoint", 7, None)
    assert digest(backbone.model) == digest(seven.model)
