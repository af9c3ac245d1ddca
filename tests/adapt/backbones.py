"""Small vision transformers, their splits, and taps for the tests of this folder."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar, Taps, new_sidecar
from moase_edge.config.moase import MoaseSettings
from moase_edge.moase.adapter import adapters_of
from moase_edge.models.split import sidecar_spec, sidecar_state

CHANNELS, DEPTH, CLASSES = 32, 3, 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Seeded standard normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def fill(module: nn.Module, seed: int) -> None:
    """Draw every weight anew, biases, tokens, norms and scales included, so that each takes part in the answer."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim == 1:
            weight.add_(0.3 * noise)
        elif "token" in name or "pos_embed" in name or "latent" in name:
            weight.copy_(noise)
        else:
            weight.copy_(noise * weight[0].numel() ** -0.5)


def small_vit(*, distilled: bool = False, **options: Any) -> nn.Module:
    """A 3-block transformer for 32 px pictures in 4 patches."""
    kind = VisionTransformerDistilled if distilled else VisionTransformer
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": CHANNELS, "depth": DEPTH, "num_heads": 2}
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = kind(**{**sizes, "num_classes": CLASSES, "mlp_ratio": 2.0, **options})
    fill(model, seed=0)
    return model.eval().requires_grad_(False)


def sidecar_of(
    model: nn.Module, adapt_blocks: int = 1, *, preset: str = "edge", rank: int = 8, perturbed: bool = False
) -> Sidecar:
    """The sidecar of a model, at the adapters' start or at a seeded state away from it."""
    moase = MoaseSettings(preset=preset, rank=rank)  # type: ignore[arg-type]
    spec = sidecar_spec(model, moase, adapt_blocks)
    sidecar = new_sidecar(spec, moase, sidecar_state(model, adapt_blocks), seed=0)
    if perturbed:
        perturb(sidecar)
    return sidecar


@torch.no_grad()
def perturb(sidecar: Sidecar, seed: int = 1) -> None:
    """Move every adapter weight away from its start."""
    generator = torch.Generator().manual_seed(seed)
    for adapter in adapters_of(sidecar):
        for weight in adapter.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def random_taps(sidecar: Sidecar, batch: int = 2, seed: int = 0) -> Taps:
    """Taps of the right shape."""
    shape = (batch, sidecar.spec.tap_tokens, sidecar.spec.channels)
    return Taps(mid=draw(*shape, seed=seed), out=draw(*shape, seed=seed + 1000))
