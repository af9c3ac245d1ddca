"""The cut of a backbone that can be corrected at every depth: a shift goes in, token means come out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moase_edge.artifact.specs import SidecarSpec
from moase_edge.models.split import FrozenBackbone, run_frozen


class SteerableBackbone(nn.Module):
    """A `FrozenBackbone` whose patch tokens can be moved at the entrance of every block.

    A shift of zeros gives the answer of `FrozenBackbone`: nothing but additions of it stand between the blocks.
    Class, distillation and register tokens are never moved. The last block's keys and values are of moved tokens,
    also where its queries are those of the tokens that are read alone.

    Args:
        model: an accepted VisionTransformer, in evaluation mode.
        spec: of the sidecar that continues from the taps.
    """

    def __init__(self, model: nn.Module, spec: SidecarSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, images: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W), (B, L, C) -> mid (B, P, C), out (B, P, C), logits (B, K), token means (B, L, C).

        The first block is entered after the positional embedding, and after a norm before the blocks where there
        is one. A block's token mean is taken before its own shift is added, and after those of earlier blocks.
        """
        prefix, means = self.spec.prefix_tokens, list[Tensor]()

        def enter(index: int, x: Tensor) -> Tensor:
            patches = x[:, prefix:]
            # A product, because ONNX Runtime averages over tokens slower (vit_b16 in all: 4 % against 1.5 %).
            # Of a row rather than a vector: TensorRT's parser takes a vector times a batch for a batch of one.
            means.append(patches.new_full((1, patches.shape[1]), 1 / patches.shape[1]) @ patches)
            moved = patches + shift[:, index, None]
            return torch.cat([x[:, :prefix], moved], dim=1) if prefix else moved

        return *run_frozen(self.model, self.spec, images, enter), torch.cat(means, dim=1)


def cut(model: nn.Module, spec: SidecarSpec, *, steer: bool) -> nn.Module:
    """The backbone as an engine runs it; its tensors are those of `tensor_specs` with the same `steer`."""
    return SteerableBackbone(model, spec) if steer else FrozenBackbone(model, spec)
