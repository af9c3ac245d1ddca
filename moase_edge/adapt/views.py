"""What the student sees of the taps, so that it differs from the teacher without another engine run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moase_edge.adapt.sidecar import Taps

View = Callable[[Taps, float, torch.Generator], Taps]


def same(taps: Taps, _strength: float, _generator: torch.Generator) -> Taps:
    """The taps as they are: with equal weights, student and teacher agree and nothing is learned."""
    return taps


def channel_dropout(taps: Taps, strength: float, generator: torch.Generator) -> Taps:
    """Drop a share of the channels, the same in both taps and all tokens of a sample, and scale up the rest.

    Args:
        strength: share that is dropped, 0 <= strength < 1.
    """
    B, _, C = taps.mid.shape
    draw = torch.rand((B, 1, C), generator=generator, device=taps.mid.device)
    kept = (draw >= strength).to(taps.mid.dtype) / (1 - strength)
    return Taps(mid=taps.mid * kept, out=taps.out * kept)


def feature_noise(taps: Taps, strength: float, generator: torch.Generator) -> Taps:
    """Add white noise whose spread is `strength` times that of each token's channels."""
    return Taps(mid=_noisy(taps.mid, strength, generator), out=_noisy(taps.out, strength, generator))


def _noisy(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + strength * x.std(dim=-1, keepdim=True, correction=0) * noise


VIEWS: dict[str, View] = {
    "same": same,
    "channel-dropout": channel_dropout,
    "feature-noise": feature_noise,
    # The taps are those of augmented frames already (see `adapt.augmented`).
    "augmented-frame": same,
}
