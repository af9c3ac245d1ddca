"""Corruptions against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.data.corruptions import corrupt
from moase_edge.data.corruptions.blur import Disk, _disk_kernel, _shuffle_pass
from moase_edge.data.corruptions.filters import gaussian, magnify, motion
from moase_edge.data.corruptions.frost_picture import frost_picture
from moase_edge.data.corruptions.weather import plasma_fractal


def flat(*rgb: int, side: int = 224) -> NDArray[np.uint8]:
    return np.tile(np.array(rgb, dtype=np.uint8), (side, side, 1))


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def noise_of(name: str, severity: int, level: int) -> NDArray[np.float64]:
    return corrupt(flat(level, level, level), name, severity, rng()).astype(float) - level


@pytest.mark.parametrize(("severity", "scale"), [(1, 0.08), (2, 0.12)])
def test_gaussian_noise_has_the_published_deviation(severity: int, scale: float) -> None:
    noise = noise_of("gaussian_noise", severity, 128)
    assert noise.std() == pytest.approx(255 * scale, rel=0.01)
    # Truncating loses half a level.
    assert noise.mean() == pytest.approx(-0.5, abs=0.3)


def test_shot_noise_has_the_deviation_of_counted_photons() -> None:
    noise = noise_of("shot_noise", 1, 128)
    assert noise.std() == pytest.approx(math.sqrt(128 * 255 / 60), rel=0.01)
    assert not noise_of("shot_noise", 5, 0).any()


def test_speckle_noise_grows_with_the_level() -> None:
    assert noise_of("speckle_noise", 1, 100).std() == pytest.approx(15, rel=0.02)
    assert noise_of("speckle_noise", 1, 50).std() == pytest.approx(7.5, rel=0.02)
    assert not noise_of("speckle_noise", 5, 0).any()


@pytest.mark.parametrize(("severity", "amount"), [(1, 0.03), (5, 0.27)])
def test_impulse_noise_changes_the_published_share_to_salt_or_pepper(severity: int, amount: float) -> None:
    noisy = corrupt(flat(90, 120, 150), "impulse_noise", severity, rng())
    changed = noisy != (90, 120, 150)
    assert set(np.unique(noisy)) == {0, 90, 120, 150, 255}
    assert changed.mean() == pytest.approx(amount, rel=0.05)
    assert (noisy == 255).mean() == pytest.approx(amount / 2, rel=0.07)
    # Channels are hit one by one: all three of a pixel only by accident.
    assert changed.all(axis=2).mean() == pytest.approx(amount**3, abs=0.002)


def test_contrast_pulls_each_channel_towards_its_own_mean() -> None:
    image = flat(0, 50, 10, side=64)
    image[:, 32:] = (200, 50, 30)
    # Means 100, 50 and 20, gain 0.4.
    pulled = corrupt(image, "contrast", 1, rng())
    np.testing.assert_array_equal(pulled[0, 0], (60, 50, 16))
    np.testing.assert_array_equal(pulled[0, -1], (140, 50, 24))


def test_brightness_adds_to_the_value_and_keeps_the_hue() -> None:
    # 0.1 of white is 25.5; results are truncated.
    np.testing.assert_array_equal(corrupt(flat(100, 100, 100), "brightness", 1, rng()), flat(125, 125, 125))
    np.testing.assert_array_equal(corrupt(flat(0, 0, 0), "brightness", 1, rng()), flat(25, 25, 25))
    # 200 becomes 225.5, and the other two grow by the same factor of 1.1275.
    np.testing.assert_array_equal(corrupt(flat(200, 100, 30), "brightness", 1, rng()), flat(225, 112, 33))
    # The value stops at white.
    np.testing.assert_array_equal(corrupt(flat(250, 100, 0), "brightness", 1, rng()), flat(255, 102, 0))


def test_saturate_scales_the_saturation_and_keeps_the_value() -> None:
    # Saturation 0.75 times 0.3 is 0.225: blue becomes 200 * (1 - 0.225), green two thirds of the way.
    paler = corrupt(flat(200, 100, 50), "saturate", 1, rng())
    np.testing.assert_allclose(paler[0, 0], (200, 170, 155), atol=1)
    # Saturation 0.5 times 5 plus 0.1 stops at 1.
    deeper = corrupt(flat(200, 150, 100), "saturate", 4, rng())
    np.testing.assert_allclose(deeper[0, 0], (200, 100, 0), atol=1)


def test_saturate_turns_grey_red_where_it_adds_saturation() -> None:
    np.testing.assert_array_equal(corrupt(flat(100, 100, 100), "saturate", 3, rng()), flat(100, 100, 100))
    reddened = corrupt(flat(100, 100, 100), "saturate", 5, rng())
    np.testing.assert_allclose(reddened[0, 0], (100, 80, 80), atol=1)


def test_pixelate_repeats_the_mean_of_each_block() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    coarse = corrupt(image, "pixelate", 2, rng())
    means = image.reshape(32, 2, 64, 2, 3).mean(axis=(1, 3))
    # Pillow rounds after each direction.
    np.testing.assert_allclose(coarse[::2, ::2], means, atol=1)
    np.testing.assert_array_equal(coarse, coarse[::2, ::2].repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(
    "name",
    ["glass_blur", "motion_blur", "zoom_blur", "gaussian_blur", "elastic_transform", "pixelate", "defocus_blur"],
)
def test_what_only_moves_light_leaves_a_flat_frame_alone(name: str) -> None:
    image = flat(40, 130, 220)
    for severity in range(1, 5):
        np.testing.assert_allclose(corrupt(image, name, severity, rng()), image, atol=2)


def test_defocus_spreads_a_point_over_a_disk() -> None:
    kernel = _disk_kernel(Disk(3, 0.1))
    offsets = np.arange(-8, 9)
    inside = offsets[:, None] ** 2 + offsets**2 <= 9
    # 29 points of the grid lie within a radius of 3.
    assert inside.sum() == 29
    np.testing.assert_allclose(kernel, inside / 29, atol=1e-6)


def test_motion_smears_one_sided_along_the_angle() -> None:
    point = np.zeros((9, 9), dtype=np.float32)
    point[4, 4] = 1
    weights = np.exp([0, -1 / 2, -4 / 2])
    weights /= weights.sum()
    along = motion(point, 1, 1.0, angle_deg=0)
    np.testing.assert_allclose(along[4, 4:1:-1], weights, rtol=1e-5)
    assert along.sum() == pytest.approx(1)
    down = motion(point, 1, 1.0, angle_deg=90)
    np.testing.assert_allclose(down[4:1:-1, 4], weights, rtol=1e-5)


def test_slanted_motion_rounds_to_the_nearest_pixel() -> None:
    point = np.zeros((9, 9), dtype=np.float32)
    point[4, 4] = 1
    # At 30 degrees the steps lie at (0.5, 0.87) and (1, 1.73); a half rounds down.
    smeared = motion(point, 1, 1.0, angle_deg=30 - 1e-9)
    assert sorted(zip(*np.nonzero(smeared > 0.01), strict=True)) == [(3, 2), (4, 3), (4, 4)]


def test_gaussian_cuts_its_kernel_as_published() -> None:
    point = np.zeros((1, 31), dtype=np.float32)
    point[0, 15] = 1
    blurred = gaussian(np.repeat(point, 31, axis=0), 1.1)[15]
    # Radius: 4 * 1.1 rounded.
    assert np.flatnonzero(blurred).tolist() == list(range(11, 20))
    assert blurred[16] / blurred[15] == pytest.approx(math.exp(-1 / (2 * 1.1**2)), rel=1e-5)


def test_magnify_keeps_the_ends_of_the_cut_in_place() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32), (20, 1))
    large = magnify(ramp, 2.5)
    # 8 of 20 columns, from the sixth on, over 20 columns.
    assert large.shape == (20, 20)
    np.testing.assert_allclose(large[7], np.linspace(6, 13, 20), atol=0.04)
    np.testing.assert_array_equal(magnify(ramp, 1.0), ramp)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_shuffle_equals_the_loop_over_pixels(reach: int) -> None:
    height, width = 22, 27
    source = np.arange(height * width).reshape(height, width)
    shape = (height - 2 * reach, width - 2 * reach)
    across, down = np.random.default_rng(9).integers(-reach, reach, size=(2, *shape))
    for row in range(height - reach, reach, -1):
        for column in range(width - reach, reach, -1):
            i, j = row - reach - 1, column - reach - 1
            source[row, column] = source[row + down[i, j], column + across[i, j]]
    at_once = _shuffle_pass(height, width, reach, np.random.default_rng(9))
    np.testing.assert_array_equal(at_once.reshape(height, width), source)


@pytest.mark.parametrize("decay", [1.4, 3.0])
def test_plasma_fills_the_range_and_closes_at_the_borders(decay: float) -> None:
    cloud = plasma_fractal(64, decay, rng())
    assert cloud.shape == (64, 64)
    assert (cloud.min(), cloud.max()) == (0, 1)
    steps = np.abs(np.diff(cloud, axis=0)).mean()
    assert np.abs(cloud[0] - cloud[-1]).mean() < 4 * steps


def test_plasma_adds_the_square_of_its_decay_at_each_step() -> None:
    class Ones:
        def random(self, size: tuple[int, int], dtype: Any) -> Any:
            return np.ones(size, dtype=dtype)

    always_most: Any = Ones()
    # Of the first step (1 in the middle, 1.5 between) a quarter follows: 1 + 0.25 and 1.25 + 0.25; all over 1.5.
    cloud = plasma_fractal(4, 2.0, always_most)
    np.testing.assert_allclose(cloud[[0, 2, 0, 1, 0, 2], [0, 2, 2, 1, 1, 1]], np.array([0, 4, 6, 5, 5, 6]) / 6)


def test_plasma_of_smaller_decay_is_rougher() -> None:
    smooth, rough = (np.abs(np.diff(plasma_fractal(128, decay, rng()))).mean() for decay in (3.0, 1.4))
    assert rough > 1.5 * smooth


def test_fog_lifts_the_dark_and_keeps_white_in_range() -> None:
    image = flat(0, 0, 0, side=64)
    image[:, 32:] = 255
    foggy = corrupt(image, "fog", 1, rng()).astype(float)
    # Amount 1.5: black becomes up to 1.5 / 2.5 of white, white at least 1 / 2.5.
    assert foggy[:, :32].max() <= 153
    assert foggy[:, 32:].min() >= 101
    assert foggy.max() <= 255


def test_snow_only_adds_light() -> None:
    image = np.random.default_rng(2).integers(0, 200, (96, 64, 3), dtype=np.uint8)
    snowy = corrupt(image, "snow", 1, rng())
    assert (snowy >= image.astype(int) - 1).all()
    # 0.8 of the frame and 0.2 of half white: black turns to 25 where no flake falls.
    assert corrupt(flat(0, 0, 0, side=64), "snow", 1, rng()).min() == 25


def test_water_adds_light_and_mud_takes_it() -> None:
    grey = flat(128, 128, 128)
    water, mud = (corrupt(grey, "spatter", severity, rng()).astype(int) for severity in (3, 5))
    assert water.min() == 128
    # Turquoise: the red of a drop grows less than its green.
    assert (water - 128).mean(axis=(0, 1))[0] < (water - 128).mean(axis=(0, 1))[1]
    assert mud.max() == 128
    np.testing.assert_array_equal(mud.reshape(-1, 3).min(axis=0), (63, 42, 20))


@pytest.mark.parametrize("size", [(28, 28), (40, 90), (300, 200)])
def test_frost_pictures_have_the_published_brightness(size: tuple[int, int]) -> None:
    picture, other = (frost_picture(*size, np.random.default_rng(seed)) for seed in (1, 2))
    assert picture.shape == (*size, 3)
    assert 0 <= picture.min() < picture.max() <= 255
    assert picture.mean() == pytest.approx(141, abs=3)
    assert picture.std() == pytest.approx(36, abs=4)
    assert np.abs(picture - other).mean() > 10


def test_frost_adds_its_share_to_the_weakened_frame() -> None:
    picture = frost_picture(64, 64, rng())
    frosted = corrupt(flat(100, 100, 100, side=64), "frost", 5, rng())
    np.testing.assert_allclose(frosted, np.floor(np.clip(60 + 0.75 * picture, 0, 255)), atol=1)
