"""Shifts of a camera that are no corruption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.data.shifts import SHIFTS, shift
from moase_edge.errors import ConfigError


def textured(height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    waves = np.sin(rows / 5) + np.sin(columns / 3 + 1)
    levels = np.stack([128 + 40 * waves, 128 - 40 * waves, 90 + 20 * waves], axis=-1)
    noise = np.random.default_rng(4).normal(0, 5, levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def flat(level: int, side: int = 32) -> NDArray[np.uint8]:
    return np.full((side, side, 3), level, dtype=np.uint8)


def linear(code: Any) -> Any:
    """Linear light of sRGB codes above the toe."""
    return ((np.asarray(code) / 255 + 0.055) / 1.055) ** 2.4


def variants(image: NDArray[np.uint8], name: str, strength: int) -> list[NDArray[np.uint8]]:
    """What comes out under 20 seeds."""
    return [shift(image, name, strength, np.random.default_rng(seed)) for seed in range(20)]


@pytest.mark.parametrize("strength", range(1, 6))
@pytest.mark.parametrize("name", SHIFTS)
def test_frames_keep_shape_and_are_never_changed_in_place(name: str, strength: int) -> None:
    for height, width in ((28, 28), (32, 48), (224, 160)):
        image = textured(height, width)
        before = image.copy()
        image.setflags(write=False)
        shifted, again = (SHIFTS[name](image, strength, np.random.default_rng(8)) for _ in range(2))
        assert shifted.shape == image.shape
        assert shifted.dtype == np.uint8
        assert shifted.flags.c_contiguous
        assert not np.shares_memory(shifted, image)
        assert not np.array_equal(shifted, image)
        np.testing.assert_array_equal(shifted, again)
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", [name for name in SHIFTS if name not in ("crop", "mirror")])
def test_strength_moves_frames_further_away(name: str) -> None:
    image = textured(96, 96)
    distances = [
        np.abs(shift(image, name, strength, np.random.default_rng(2)).astype(float) - image).mean()
        for strength in range(1, 6)
    ]
    assert distances == sorted(distances)
    assert distances[4] > 1.5 * distances[0]


def test_exposure_doubles_or_halves_the_light_at_one_stop() -> None:
    # Code 100 is 0.1274 of white in linear light; 0.2549 is code 138, 0.0637 is code 71.
    results = {int(result[0, 0, 0]) for result in variants(flat(100), "exposure", 3)}
    assert results == {71, 138}


def test_colour_cast_keeps_the_light_of_grey_and_moves_red_against_blue() -> None:
    for result in variants(flat(128), "colour_cast", 5):
        red, green, blue = linear(result[0, 0])
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(linear(128), rel=0.03)
        assert max(red / blue, blue / red) == pytest.approx(1.6**2, rel=0.03)


def test_colour_cast_is_warm_or_cold() -> None:
    warm = {bool(result[0, 0, 0] > result[0, 0, 2]) for result in variants(flat(128), "colour_cast", 1)}
    assert warm == {True, False}


def test_jpeg_loses_fine_colour_before_fine_brightness() -> None:
    stripes = np.arange(64) % 2 == 0
    colour, brightness = flat(128, 64), flat(90, 64)
    colour[:, stripes], brightness[:, stripes] = (170, 110, 100), 160
    rng = np.random.default_rng(0)
    colour_left = np.ptp(shift(colour, "jpeg", 1, rng)[32, 16:48, 0].astype(int) - 128)
    brightness_left = np.ptp(shift(brightness, "jpeg", 1, rng)[32, 16:48, 0].astype(int))
    assert brightness_left > 0.9 * 70
    assert colour_left < 0.6 * 42


def test_resolution_blends_what_a_coarse_sensor_cannot_tell_apart() -> None:
    board = flat(0, 64)
    board[np.indices((64, 64)).sum(axis=0) % 2 == 0] = 200
    np.testing.assert_allclose(shift(board, "resolution", 3, np.random.default_rng(0)), 100, atol=1)


def test_crop_enlarges_a_window_of_the_frame() -> None:
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[:, None], 100, axis=1)
    image = np.stack([ramp, ramp.T, ramp], axis=-1)
    lefts = []
    for window in variants(image, "crop", 5):
        # Half of the side: half of the values, spread over the frame.
        assert np.ptp(window[:, 0, 0].astype(int)) == pytest.approx(98, abs=2)
        assert np.ptp(window[0, :, 1].astype(int)) == pytest.approx(98, abs=2)
        lefts.append(int(window[0, 0, 1]))
    assert len(set(lefts)) > 8


def test_mirror_exchanges_left_and_right() -> None:
    image = textured(32, 48)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(shift(shift(image, "mirror", 1, rng), "mirror", 5, rng), image)
    np.testing.assert_array_equal(shift(image, "mirror", 1, rng)[:, 0], image[:, -1])


def test_camera_curve_darkens_corners_by_the_stated_share() -> None:
    for result in variants(flat(128, 65), "camera_curve", 5):
        # Middle grey stays in the centre, and corners lose 40 %.
        assert result[32, 32, 0] == pytest.approx(128, abs=1)
        assert linear(result[0, 0, 0]) / linear(result[32, 32, 0]) == pytest.approx(0.6, abs=0.02)


def test_camera_curve_is_harder_or_softer() -> None:
    image = flat(60)
    centre = {int(result[16, 16, 0]) for result in variants(image, "camera_curve", 3)}
    assert len(centre) == 2
    assert min(centre) < 60 < max(centre)


def test_unknown_shift_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match="did you mean 'exposure'") as caught:
        shift(flat(0), "exposures", 1, np.random.default_rng(0))
    assert all(name in str(caught.value) for name in SHIFTS)


def test_strength_and_frame_are_checked() -> None:
    with pytest.raises(ConfigError, match="strength is 0"):
        shift(flat(0), "mirror", 0, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="16 px"):
        shift(flat(0, 8), "mirror", 1, np.random.default_rng(0))
