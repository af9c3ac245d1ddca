"""Light augmentation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.errors import ConfigError
from moase_edge.train import augment
from moase_edge.train.augment import LightAugment

NOTHING = {"max_shift": 0.0, "max_angle_deg": 0.0, "max_scale": 0.0, "max_contrast": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def always(value: float) -> object:
    return lambda count, generator: torch.full((count,), value)


def dot(row: int, column: int) -> Tensor:
    image = torch.zeros(1, 3, 8, 8)
    image[:, :, row, column] = 1
    return image


def test_amounts_of_zero_change_nothing() -> None:
    images = torch.rand(3, 3, 8, 6, generator=generator())
    changed = LightAugment(**NOTHING, fill=-1.0)(images, generator())
    torch.testing.assert_close(changed, images, atol=1e-5, rtol=0)


def test_same_generator_state_gives_the_same_views_and_pictures_differ() -> None:
    images = torch.rand(1, 3, 8, 8, generator=generator()).expand(2, -1, -1, -1)
    views = LightAugment()(images, generator(1))
    assert torch.equal(views, LightAugment()(images, generator(1)))
    assert not torch.equal(views, LightAugment()(images, generator(2)))
    assert not torch.equal(views[0], views[1])


def test_shift_by_an_eighth_moves_a_dot_by_one_pixel_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "symmetric", always(-1.0))
    moved = LightAugment(**{**NOTHING, "max_shift": 1 / 8})(dot(3, 4), generator())
    torch.testing.assert_close(moved, dot(4, 5), atol=1e-5, rtol=0)


def test_turn_by_a_quarter_moves_a_dot_around_the_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "symmetric", always(1.0))
    turned = LightAugment(**{**NOTHING, "max_angle_deg": 90.0})(dot(0, 2), generator())
    torch.testing.assert_close(turned, dot(5, 0), atol=1e-5, rtol=0)


def test_turn_keeps_the_shape_of_what_a_wide_picture_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "symmetric", always(1.0))
    image = torch.zeros(1, 3, 8, 16)
    image[:, :, 4, 5:11] = 1  # a bar of six pixels about the centre
    turned = LightAugment(**{**NOTHING, "max_angle_deg": 90.0})(image, generator())
    bar = turned[0, 0] > 0.5
    assert int(bar.sum()) == 6
    assert int(bar.any(dim=1).sum()) == 6


def test_scale_of_one_and_a_half_enlarges_the_area(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "symmetric", always(1.0))
    square = torch.zeros(1, 3, 32, 32)
    square[:, :, 8:24, 8:24] = 1
    larger = LightAugment(**{**NOTHING, "max_scale": 0.5})(square, generator())
    assert math.sqrt(float(larger[0, 0].sum())) == pytest.approx(1.5 * 16, abs=1)


def test_contrast_moves_values_about_the_pictures_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "symmetric", always(-1.0))
    image = torch.zeros(1, 3, 4, 4)
    image[..., :2] = 1
    flat = LightAugment(**{**NOTHING, "max_contrast": 0.4})(image, generator())
    torch.testing.assert_close(flat, 0.5 + 0.6 * (image - 0.5), atol=1e-5, rtol=0)


def test_what_comes_in_from_outside_has_the_fill_value() -> None:
    images = torch.full((4, 3, 8, 8), -1.0)
    views = LightAugment(max_shift=0.4, max_angle_deg=45, max_scale=0.5, fill=-1.0)(images, generator())
    torch.testing.assert_close(views, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("amounts", [{"max_shift": -0.1}, {"max_angle_deg": -1.0}, {"max_scale": 1.0}])
def test_amount_out_of_range_is_refused(amounts: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="at least 0 and max_scale below 1"):
        LightAugment(**amounts)
