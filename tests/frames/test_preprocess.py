from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from moase_edge.artifact.preprocess_spec import CropMode, Interpolation, PreprocessSpec
from moase_edge.errors import SourceError
from moase_edge.frames.preprocess import Preprocessor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = {
    "portrait": (641, 427),
    "tall portrait": (640, 233),
    "landscape": (333, 500),
    "square": (301, 301),
    "smaller": (57, 100),
    "smaller portrait": (100, 57),
    "equal": (224, 224),
    "equal to the resize": (256, 256),
    "one side equal": (256, 300),
    "video": (432, 768),
    "full HD": (1080, 1920),
    "full HD portrait": (1920, 1080),
    "needle": (3, 200),
    "one pixel": (1, 1),
}


def spec(**changes: Any) -> PreprocessSpec:
    values: dict[str, Any] = {"height": 224, "width": 224, "crop_pct": 0.875, "mean": MEAN, "std": STD}
    return PreprocessSpec(**{**values, **changes})


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def timm_tensor(image: NDArray[np.uint8], of: PreprocessSpec) -> NDArray[np.float32]:
    from timm.data import create_transform

    transform = create_transform(
        (3, of.height, of.width),
        is_training=False,
        interpolation=of.interpolation,
        mean=of.mean,
        std=of.std,
        crop_pct=of.crop_pct,
        crop_mode=of.crop_mode,
    )
    result: NDArray[np.float32] = transform(Image.fromarray(image)).numpy()
    return result


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_tensor_equals_timms_bit_for_bit(
    size: tuple[int, int], crop_mode: CropMode, interpolation: Interpolation
) -> None:
    if crop_mode == "border" and size == SIZES["needle"]:
        size = (6, 200)  # thinner ones vanish in timm, too
    of = spec(crop_mode=crop_mode, interpolation=interpolation)
    image = noise(*size)
    assert (Preprocessor(of)(image) == timm_tensor(image, of)).all()


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.integers(20, 700), st.integers(20, 700)),
    target=st.tuples(st.integers(8, 120), st.integers(8, 120))
    | st.integers(8, 120).map(lambda side: (side, side)),
    crop_pct=st.sampled_from([1.0, 0.95, 0.9, 0.875, 0.5]),
    crop_mode=st.sampled_from(["center", "squash", "border"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
@example(source=(20, 320), target=(8, 8), crop_pct=1.0, crop_mode="border", interpolation="nearest")
def test_tensor_equals_timms_for_any_sizes_of_which_timm_makes_one(
    source: tuple[int, int],
    target: tuple[int, int],
    crop_pct: float,
    crop_mode: CropMode,
    interpolation: Interpolation,
) -> None:
    of = spec(
        height=target[0],
        width=target[1],
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        interpolation=interpolation,
    )
    image = noise(*source)
    try:
        expected = timm_tensor(image, of)
    except ValueError:  # a side would have no pixels left
        with pytest.raises(SourceError, match="too elongated"):
            Preprocessor(of)(image)
    else:
        assert (Preprocessor(of)(image) == expected).all()


def test_tensor_equals_that_of_a_models_own_configuration() -> None:
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg("vit_base_patch16_224").to_dict())
    of = PreprocessSpec(
        height=config["input_size"][1],
        width=config["input_size"][2],
        crop_pct=config["crop_pct"],
        crop_mode=config["crop_mode"],
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
    )
    image = noise(432, 768)
    expected = create_transform(**config, is_training=False)(Image.fromarray(image)).numpy()
    assert (Preprocessor(of)(image) == expected).all()


def test_a_frame_of_the_target_size_is_only_normalised() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = (255, 51, 0)
    of = PreprocessSpec(height=1, width=2, crop_pct=1, mean=(0.5, 0.0, 0.25), std=(0.5, 0.1, 0.25))
    expected = [[[-1.0, 1.0]], [[0.0, 2.0]], [[-1.0, -1.0]]]
    np.testing.assert_allclose(Preprocessor(of)(image), expected, rtol=1e-6)


def test_border_mode_pads_with_the_mean() -> None:
    image = np.full((4, 8, 3), 255, np.uint8)
    of = PreprocessSpec(height=8, width=8, crop_pct=1, crop_mode="border", mean=(0.6, 0.6, 0.6), std=(1, 1, 1))
    tensor = Preprocessor(of)(image)  # 153 of 255 is 0.6: the padding is normalised to nothing
    np.testing.assert_allclose(tensor[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(tensor[:, 2:6], 0.4, atol=1e-6)
    np.testing.assert_allclose(tensor[:, 6:], 0, atol=1e-6)


def test_centre_crop_keeps_the_middle_of_the_longer_side() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    of = PreprocessSpec(height=10, width=10, crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1))
    assert (Preprocessor(of)(image) == 1).all()


def test_result_is_fresh_contiguous_and_leaves_the_frame_alone() -> None:
    preprocess = Preprocessor(spec())
    image = noise(300, 400)
    before = image.copy()
    first = preprocess(image)
    kept = first.copy()
    second = preprocess(noise(300, 400, seed=1))
    assert first.dtype == np.float32
    assert first.shape == (3, 224, 224)
    assert first.flags["C_CONTIGUOUS"]
    assert (first == kept).all()
    assert not np.shares_memory(first, second)
    assert (image == before).all()


def test_a_view_gives_the_same_as_its_copy() -> None:
    preprocess = Preprocessor(spec())
    view = noise(600, 800)[::2, ::-1]
    assert not view.flags["C_CONTIGUOUS"]
    assert (preprocess(view) == preprocess(view.copy())).all()


def test_a_batch_of_different_sizes_equals_the_single_calls() -> None:
    preprocess = Preprocessor(spec(crop_mode="border"))
    images = [noise(300, 400), noise(100, 50), noise(224, 224)]
    batch = preprocess.batch(images)
    assert batch.shape == (3, 3, 224, 224)
    assert batch.flags["C_CONTIGUOUS"]
    for image, tensor in zip(images, batch, strict=True):
        assert (tensor == preprocess(image)).all()


def test_an_empty_batch_is_empty() -> None:
    assert Preprocessor(spec()).batch([]).shape == (0, 3, 224, 224)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=["grey", "alpha", "channels first", "float", "no pixels", "batch"],
)
def test_other_shapes_and_dtypes_are_refused_with_what_was_got(image: NDArray[Any]) -> None:
    with pytest.raises(SourceError, match=f"H x W x 3, RGB, uint8; got shape .* of {image.dtype}"):
        Preprocessor(spec())(image)


@pytest.mark.parametrize(("size", "crop_mode"), [((1, 5000), "border"), ((1, 5000), "center")])
def test_a_needle_that_would_vanish_or_fill_the_memory_is_refused(
    size: tuple[int, int], crop_mode: CropMode
) -> None:
    with pytest.raises(SourceError, match="5000 x 1 pixels is too elongated"):
        Preprocessor(spec(crop_mode=crop_mode))(np.zeros((*size, 3), np.uint8))
