"""The random view."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from moase_edge.bench.methods.augment import RandomView, jitter_colours

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
COTTA = RandomView(MEAN, STD, padding="edge", blur_and_noise=True)
ROID = RandomView(MEAN, STD, padding="reflect", blur_and_noise=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normalised(pictures: Tensor) -> Tensor:
    return (pictures - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def pictures_of(frames: Tensor) -> Tensor:
    return frames * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


@pytest.mark.parametrize("view", [COTTA, ROID])
@pytest.mark.parametrize("size", [(32, 32), (20, 33)])
def test_a_view_is_a_picture_of_the_same_size(view: RandomView, size: tuple[int, int]) -> None:
    frames = normalised(torch.rand(3, 3, *size, generator=generator()))
    for seed in range(5):
        seen = pictures_of(view(frames, generator(seed)))
        assert seen.shape == frames.shape
        assert float(seen.min()) > -1e-5
        assert float(seen.max()) < 1 + 1e-5


def test_the_same_seed_gives_the_same_view_and_the_global_state_is_left_alone() -> None:
    frames = normalised(torch.rand(2, 3, 32, 32, generator=generator()))
    state = torch.get_rng_state()
    assert torch.equal(COTTA(frames, generator(3)), COTTA(frames, generator(3)))
    assert not torch.equal(COTTA(frames, generator(3)), COTTA(frames, generator(4)))
    assert torch.equal(torch.get_rng_state(), state)


def test_one_draw_serves_the_whole_batch_but_for_the_noise() -> None:
    one = normalised(torch.rand(1, 3, 32, 32, generator=generator()))
    twice = ROID(one.expand(2, -1, -1, -1), generator(1))
    assert torch.allclose(twice[0], twice[1], atol=1e-6)
    noisy = COTTA(one.expand(2, -1, -1, -1), generator(1))
    assert 0 < float((pictures_of(noisy)[0] - pictures_of(noisy)[1]).abs().max()) < 10 * 0.005


def test_a_picture_of_one_colour_keeps_its_edges() -> None:
    # Turned, shifted and scaled it still shows nothing but itself: what lies beyond the edge is the edge.
    grey = normalised(torch.full((1, 3, 32, 32), 0.5))
    for seed in range(10):
        seen = pictures_of(ROID(grey, generator(seed)))
        assert float(seen.std(dim=(2, 3)).max()) < 1e-5


def test_blurring_only_what_is_kept_changes_nothing() -> None:
    padded = torch.rand(1, 3, 64, 64, generator=generator())
    whole = vision.center_crop(vision.gaussian_blur(padded, 5, 0.5), [32, 32])
    margin = vision.gaussian_blur(vision.center_crop(padded, [36, 36]), 5, 0.5)
    assert torch.allclose(vision.center_crop(margin, [32, 32]), whole, atol=1e-6)


def test_colours_change_within_the_published_spans() -> None:
    grey = torch.full((1, 3, 4, 4), 0.5)
    levels = torch.tensor([float(jitter_colours(grey, generator(seed)).mean()) for seed in range(200)])
    # Of a grey only brightness and gamma change the level; darkest is gamma last, brightest gamma first.
    darkest, brightest = 0.3**1.3, 1.4 * 0.5**0.7
    assert darkest - 1e-4 <= float(levels.min()) < darkest + 0.05
    assert brightest - 0.05 < float(levels.max()) <= brightest + 1e-4
