"""What holds for all corruptions: names, shapes, chance, severity, errors, imports."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.data.corruptions import COMMON_CORRUPTIONS, CORRUPTIONS, constants_for, corrupt
from moase_edge.errors import ConfigError

# Published to rise in effect from 1 to 5. The others trade one effect for another from step to step (blur for
# shuffle, small drops for large), or rise only on average (fog).
NOT_MONOTONE = ("glass_blur", "snow", "frost", "fog", "spatter", "saturate")
MONOTONE = [(name, 224) for name in CORRUPTIONS if name not in NOT_MONOTONE]
# CIFAR-10-C trades an affine map for a warp, and its JPEG qualities are close to each other on 32 px.
MONOTONE += [(name, 32) for name, _ in MONOTONE if name not in ("elastic_transform", "jpeg_compression")]


def picture(height: int, width: int, seed: int = 7) -> NDArray[np.uint8]:
    """Coloured waves with a little noise: smooth parts, edges and texture."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(a * rows + b * columns) for a, b in ((9, 40), (60, 5), (25, 25))]
    levels = 128 + 90 * np.sign(waves[0]) * np.abs(waves[0]) ** 0.3 + 25 * waves[1]
    coloured = np.stack([levels, 0.8 * levels + 30 * waves[2], 255 - levels], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 6, coloured.shape)
    return np.clip(coloured + noise, 0, 255).astype(np.uint8)


def difference(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(image.astype(float) - other).mean())


def test_the_fifteen_stand_in_published_order_before_the_four() -> None:
    assert (
        *("gaussian_noise", "shot_noise", "impulse_noise"),
        *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness"),
        *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    ) == COMMON_CORRUPTIONS
    assert tuple(CORRUPTIONS)[15:] == ("speckle_noise", "gaussian_blur", "spatter", "saturate")


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_frames_keep_shape_and_are_never_changed_in_place(name: str, severity: int) -> None:
    for height, width in ((28, 28), (32, 48), (224, 224)):
        image = picture(height, width)
        before = image.copy()
        image.setflags(write=False)
        corrupted = corrupt(image, name, severity, np.random.default_rng(3))
        assert corrupted.shape == image.shape
        assert corrupted.dtype == np.uint8
        assert corrupted.flags.c_contiguous
        assert not np.shares_memory(corrupted, image)
        np.testing.assert_array_equal(image, before)
    assert difference(corrupted, image) > 0.1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_generator_state_gives_same_bytes(name: str) -> None:
    image = picture(64, 96)
    first, again, other = (corrupt(image, name, 3, np.random.default_rng(seed)) for seed in (11, 11, 12))
    np.testing.assert_array_equal(first, again)
    unchanging = {"defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast", "pixelate", "saturate"}
    assert np.array_equal(first, other) == (name in unchanging | {"jpeg_compression"})


@pytest.mark.parametrize(("name", "side_px"), MONOTONE)
def test_severity_moves_frames_further_away(name: str, side_px: int) -> None:
    image = picture(side_px, side_px)
    distances = [
        np.mean([difference(corrupt(image, name, s, np.random.default_rng(seed)), image) for seed in range(2)])
        for s in range(1, 6)
    ]
    assert distances == sorted(distances)
    assert distances[4] > 1.1 * distances[0]


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(CORRUPTIONS)),
    severity=st.integers(1, 5),
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    constants=st.sampled_from([None, "imagenet", "cifar"]),
)
def test_any_frame_size_works_with_either_set(
    name: str, severity: int, height: int, width: int, constants: Any
) -> None:
    image = picture(height, width)
    corrupted = corrupt(image, name, severity, np.random.default_rng(0), constants=constants)
    assert corrupted.shape == image.shape
    assert corrupted.dtype == np.uint8


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_black_and_white_frames_pass(name: str, level: int) -> None:
    for side in (32, 64):
        flat = np.full((side, side, 3), level, dtype=np.uint8)
        assert corrupt(flat, name, 5, np.random.default_rng(0)).shape == flat.shape


def test_a_view_with_steps_is_corrupted_as_its_copy() -> None:
    view = picture(96, 128)[::-1, ::2]
    for name in CORRUPTIONS:
        from_view, from_copy = (corrupt(image, name, 2, np.random.default_rng(1)) for image in (view, view.copy()))
        np.testing.assert_array_equal(from_view, from_copy)


def test_small_frames_take_the_constants_of_cifar() -> None:
    assert constants_for(picture(63, 200)) == "cifar"
    assert constants_for(picture(64, 200)) == "imagenet"
    image = picture(32, 32)
    automatic, cifar, imagenet = (
        corrupt(image, "contrast", 5, np.random.default_rng(0), constants=constants)
        for constants in (None, "cifar", "imagenet")
    )
    np.testing.assert_array_equal(automatic, cifar)
    # A gain of 0.05 against one of 0.15.
    assert imagenet.std(axis=(0, 1)) == pytest.approx(cifar.std(axis=(0, 1)) / 3, rel=0.1)


def test_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gaussian_noise'") as caught:
        corrupt(picture(32, 32), "gausian_noise", 1, np.random.default_rng(0))
    assert all(name in str(caught.value) for name in CORRUPTIONS)
    with pytest.raises(ConfigError, match="'rain' does not exist; expected one of"):
        corrupt(picture(32, 32), "rain", 1, np.random.default_rng(0))


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3", True, None])
def test_severity_outside_one_to_five_is_refused(severity: Any) -> None:
    with pytest.raises(ConfigError, match="from 1 to 5"):
        corrupt(picture(32, 32), "fog", severity, np.random.default_rng(0))


def test_severity_may_be_a_numpy_integer() -> None:
    severities = np.arange(1, 6)
    assert corrupt(picture(32, 32), "fog", severities[0], np.random.default_rng(0)).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((32, 32, 3), dtype=np.float32), "dtype float32"),
        (np.zeros((32, 32), dtype=np.uint8), r"shape \(32, 32\)"),
        (np.zeros((32, 32, 4), dtype=np.uint8), r"shape \(32, 32, 4\)"),
        (np.zeros((32, 15, 3), dtype=np.uint8), "15 x 32 px"),
        ([[0, 0, 0]], "list"),
    ],
)
def test_what_is_no_frame_is_refused(image: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        corrupt(image, "fog", 1, np.random.default_rng(0))


def test_unknown_constants_are_refused() -> None:
    bad: Any = "mnist"
    with pytest.raises(ConfigError, match="imagenet, cifar"):
        corrupt(picture(32, 32), "fog", 1, np.random.default_rng(0), constants=bad)


def test_package_imports_without_the_optional_ones() -> None:
    blocked = ("torch", "timm", "onnx", "scipy", "sklearn", "skimage", "matplotlib")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import numpy as np\n"
        "from moase_edge.data.corruptions import CORRUPTIONS\n"
        "from moase_edge.data.shifts import SHIFTS\n"
        "image = np.full((64, 64, 3), 90, dtype=np.uint8)\n"
        "for function in [*CORRUPTIONS.values(), *SHIFTS.values()]:\n"
        "    function(image, 1, np.random.default_rng(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
