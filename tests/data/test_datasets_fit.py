"""Pictures brought to the model's size before they are corrupted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.fit import fit_to_model, fitted_spec, resize
from moase_edge.errors import SourceError
from moase_edge.frames.preprocess import Preprocessor


def spec(height: int = 28, width: int = 28, **changes: object) -> PreprocessSpec:
    values = {
        "height": height,
        "width": width,
        "crop_pct": 0.875,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.25),
    }
    return PreprocessSpec.model_validate({**values, **changes})


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(
    st.integers(5, 120),
    st.integers(5, 120),
    st.sampled_from([(28, 28), (32, 24), (24, 32)]),
    st.sampled_from([0.5, 0.875, 0.9, 1.0]),
    st.sampled_from(["center", "squash", "border"]),
    st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
@settings(max_examples=200)
def test_fitting_and_then_normalising_is_the_models_own_preprocessing(
    height: int, width: int, size: tuple[int, int], crop_pct: float, mode: str, interpolation: str
) -> None:
    image = noise(height, width)
    wanted = spec(*size, crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation)
    fitted = fit_to_model(image, wanted)
    assert fitted.shape == (*size, 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    np.testing.assert_array_equal(Preprocessor(fitted_spec(wanted))(fitted), Preprocessor(wanted)(image))


def test_picture_of_the_models_size_is_cropped_by_the_spec_and_kept_by_the_fitted_one() -> None:
    image = noise(28, 28)
    assert np.array_equal(fit_to_model(image, fitted_spec(spec())), image)
    assert not np.array_equal(fit_to_model(image, spec()), image)


def test_wide_picture_loses_its_sides() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 200
    fitted = fit_to_model(image, spec(20, 20, crop_pct=1.0))
    assert (fitted == 200).all()


def test_border_is_filled_with_the_models_mean() -> None:
    fitted = fit_to_model(np.zeros((10, 40, 3), np.uint8), spec(20, 20, crop_pct=1.0, crop_mode="border"))
    assert fitted[0, 0].tolist() == [102, 128, 153]
    assert fitted[10, 10].tolist() == [0, 0, 0]


def test_small_picture_is_enlarged() -> None:
    assert fit_to_model(noise(8, 8), spec(32, 32)).shape == (32, 32, 3)


def test_result_owns_its_memory() -> None:
    image = noise(28, 28)
    fitted = fit_to_model(image, fitted_spec(spec()))
    fitted[:] = 0
    assert np.array_equal(image, noise(28, 28))
    assert not np.shares_memory(resize(image, 28, 28), image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(SourceError, match="expected H x W x 3"):
        fit_to_model(image, spec())


def test_needle_is_refused_before_it_takes_all_memory() -> None:
    with pytest.raises(SourceError, match=r"400000 x 1 pixels is too elongated"):
        fit_to_model(np.zeros((1, 400000, 3), np.uint8), spec(224, 224))
