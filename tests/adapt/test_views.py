"""What the student sees of the taps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moase_edge.adapt.sidecar import Taps
from moase_edge.adapt.views import VIEWS, View, channel_dropout, feature_noise, same
from tests.adapt.backbones import draw


def seen(view: View, taps: Taps, strength: float, seed: int = 0) -> Taps:
    return view(taps, strength, torch.Generator().manual_seed(seed))


@pytest.fixture
def taps() -> Taps:
    return Taps(mid=draw(3, 4, 64), out=draw(3, 4, 64, seed=1))


@pytest.mark.parametrize("strength", [0.0, 0.4])
@pytest.mark.parametrize("name", VIEWS)
def test_shapes_and_dtype_stay(name: str, strength: float, taps: Taps) -> None:
    for tap in seen(VIEWS[name], Taps(*(tap.double() for tap in taps)), strength):
        assert tap.shape == (3, 4, 64)
        assert tap.dtype == torch.float64


@pytest.mark.parametrize("name", VIEWS)
def test_strength_zero_is_an_exact_identity(name: str, taps: Taps) -> None:
    view = seen(VIEWS[name], taps, 0.0)
    assert torch.equal(view.mid, taps.mid)
    assert torch.equal(view.out, taps.out)


def test_same_is_an_identity_at_any_strength(taps: Taps) -> None:
    assert seen(same, taps, 0.9) is taps


@pytest.mark.parametrize("view", [channel_dropout, feature_noise])
def test_view_repeats_with_its_seed_and_differs_with_another(view: View, taps: Taps) -> None:
    first, again, other = (seen(view, taps, 0.3, seed) for seed in (1, 1, 2))
    assert torch.equal(first.mid, again.mid)
    assert torch.equal(first.out, again.out)
    assert not torch.equal(first.mid, other.mid)


@pytest.mark.parametrize("view", [channel_dropout, feature_noise])
def test_taps_are_left_as_they_were(view: View, taps: Taps) -> None:
    mid, out = taps.mid.clone(), taps.out.clone()
    seen(view, taps, 0.3)
    assert torch.equal(taps.mid, mid)
    assert torch.equal(taps.out, out)


def test_one_channel_mask_serves_both_taps_and_all_tokens_and_differs_between_samples() -> None:
    ones = torch.ones(3, 4, 64)
    view = seen(channel_dropout, Taps(ones, ones), 0.5)
    assert torch.equal(view.mid, view.out)
    assert set(view.mid.flatten().tolist()) == {0.0, 2.0}
    masks = view.mid[:, 0]
    assert torch.equal(view.mid, masks.unsqueeze(1).expand(3, 4, 64))
    assert not torch.equal(masks[0], masks[1])


def mean_over_draws(view: View, strength: float, draws: int = 20_000) -> Tensor:
    taps = Taps(*(torch.tensor([1.0, -2.0, 4.0, 0.5]).expand(draws, 1, 4) for _ in range(2)))
    return seen(view, taps, strength).out.mean(dim=(0, 1))


@pytest.mark.parametrize("strength", [0.1, 0.5])
@pytest.mark.parametrize("view", [channel_dropout, feature_noise])
def test_expectation_is_preserved(view: View, strength: float) -> None:
    # The spread of one draw is at most 4 in both views, so that of the mean is below 0.03.
    torch.testing.assert_close(
        mean_over_draws(view, strength), torch.tensor([1.0, -2.0, 4.0, 0.5]), rtol=0, atol=0.12
    )


def test_share_of_dropped_channels_is_the_strength() -> None:
    ones = torch.ones(200, 1, 500)
    dropped = (seen(channel_dropout, Taps(ones, ones), 0.2).mid == 0).double().mean()
    assert float(dropped) == pytest.approx(0.2, abs=0.01)


def test_noise_is_scaled_by_the_spread_of_each_token() -> None:
    unit = draw(1, 1, 20_000)
    unit = (unit - unit.mean()) / unit.std(correction=0)
    mid = torch.cat([unit, 10 * unit + 3], dim=1)
    noise = seen(feature_noise, Taps(mid, mid), 0.2).mid - mid
    assert noise.std(dim=-1)[0].tolist() == pytest.approx([0.2, 2.0], rel=0.05)


def test_noise_on_the_two_taps_is_drawn_apart(taps: Taps) -> None:
    view = seen(feature_noise, Taps(taps.mid, taps.mid), 0.2)
    assert not torch.equal(view.mid, view.out)
