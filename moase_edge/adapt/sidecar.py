"""The sidecar: everything after the taps, with the adapters in it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moase_edge.adapt.tail import AttentionPool, TailBlock, pool_tokens
from moase_edge.artifact.files import storage_errors
from moase_edge.artifact.specs import SidecarSpec
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ArtifactError
from moase_edge.moase.adapter import MoaseAdapter
from moase_edge.moase.objectives import Views


class Taps(NamedTuple):
    """What the engine hands to the sidecar: both (B, P, C), P = `tap_tokens`."""

    mid: Tensor
    out: Tensor


class Sidecar(nn.Module):
    """From the taps to the answer: `out + moase(mid)`, the other adapted blocks, the model's own end.

    With adapters at their start (zero up projections) it computes the frozen model's answer.

    Args:
        spec: shapes and parts of the backbone's end.
        moase: settings of each adapter.
        generator: for the adapters' start; the frozen weights are loaded afterwards.
    """

    def __init__(
        self, spec: SidecarSpec, moase: MoaseSettings, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        # Adapters of the other presets look at all tokens of a block.
        self.per_token = moase.preset == "edge"
        self.adapters = nn.ModuleList(
            MoaseAdapter(spec.channels, generator=generator, **moase.model_dump())
            for _ in range(spec.adapt_blocks)
        )
        self.blocks = nn.ModuleList(TailBlock(spec) for _ in range(spec.adapt_blocks - 1))
        self.norm = _norm(spec, present=spec.final_norm)
        self.pool = AttentionPool(spec.attention_pool, spec.channels) if spec.attention_pool else None
        self.fc_norm = _norm(spec, present=spec.fc_norm)
        self.head = _head(spec)
        self.head_dist = _head(spec) if spec.distilled else None

    def forward(self, taps: Taps) -> Views:
        """Taps of (B, P, C) -> logits (B, K) and features (B, C)."""
        x = taps.out + self.adapters[0](taps.mid)
        for index, block in enumerate(self.blocks, start=1):
            last = index == len(self.blocks)
            queries = self.spec.read_tokens if last and self.per_token else x.shape[1]
            x = block(x, self.adapters[index], queries)
        return self.finish(self.norm(x[:, : self.spec.read_tokens]))

    def finish(self, x: Tensor) -> Views:
        """Pooling and head: normed tokens (B, P, C) -> views."""
        return self.classify(self.head_inputs(x))

    def head_inputs(self, x: Tensor) -> Tensor:
        """Normed tokens (B, P, C) -> (B, H, C): what each of the H heads reads; two in a distilled network."""
        if self.head_dist is not None:
            return x[:, :2]
        if self.pool is not None:
            pooled = self.pool(x if self.spec.pool_prefix else x[:, self.spec.prefix_tokens :])
        else:
            pooled = pool_tokens(x, self.spec)
        features: Tensor = self.fc_norm(pooled)
        return features.unsqueeze(1)

    def classify(self, pooled: Tensor) -> Views:
        """Head inputs (B, H, C) -> views; the features are their mean."""
        if self.head_dist is not None:
            logits = 0.5 * (self.head(pooled[:, 0]) + self.head_dist(pooled[:, 1]))
            return Views(logits=logits, features=0.5 * (pooled[:, 0] + pooled[:, 1]), pooled=pooled)
        return Views(logits=self.head(pooled[:, 0]), features=pooled[:, 0], pooled=pooled)


def _norm(spec: SidecarSpec, *, present: bool) -> nn.Module:
    return nn.LayerNorm(spec.channels, eps=spec.norm_eps) if present else nn.Identity()


def _head(spec: SidecarSpec) -> nn.Module:
    return nn.Linear(spec.channels, spec.classes, bias=spec.head_bias) if spec.classes else nn.Identity()


def new_sidecar(spec: SidecarSpec, moase: MoaseSettings, frozen: dict[str, Tensor], *, seed: int) -> Sidecar:
    """A sidecar at its source state: seeded adapters, the backbone's own frozen weights.

    Args:
        frozen: names and tensors of every part but the adapters.

    Raises:
        KeyError: `frozen` does not name exactly the sidecar's frozen weights.
    """
    sidecar = Sidecar(spec, moase, generator=torch.Generator().manual_seed(seed))
    missing, unknown = sidecar.load_state_dict(frozen, strict=False)
    missing = [name for name in missing if not name.startswith("adapters.")]
    if missing or unknown:
        raise KeyError(f"frozen weights do not fit the sidecar: missing {missing}, unknown {list(unknown)}")
    return sidecar.eval().requires_grad_(False)


def save_sidecar(sidecar: Sidecar, path: Path) -> None:
    """Write all weights as safetensors.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.torch import save

    # Not `save_file`, which hides the operating system's error in one of its own.
    with storage_errors(path):
        path.write_bytes(save({name: tensor.contiguous() for name, tensor in sidecar.state_dict().items()}))


def load_sidecar(path: Path, spec: SidecarSpec, moase: MoaseSettings) -> Sidecar:
    """Read a sidecar at its source state, frozen, in evaluation mode, on the CPU.

    Raises:
        ArtifactError: the file is damaged or does not fit the spec.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    sidecar = Sidecar(spec, moase)
    try:
        # Not `load_file`, which takes no path that is no UTF-8.
        sidecar.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, OSError, RuntimeError) as exc:
        raise ArtifactError(f"{path} does not hold this sidecar: {exc}. Export again with --force.") from exc
    return sidecar.eval().requires_grad_(False)
