"""The frozen blocks and pooling that follow the taps, in plain PyTorch, so that a device needs no timm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.artifact.specs import AttentionPoolSpec, SidecarSpec
from moase_edge.moase.adapter import MoaseAdapter


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), the activation of the first CLIP models."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "quick-gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}


class TailBlock(nn.Module):
    """A frozen pre-norm transformer block with an adapter beside its MLP.

    x = x + scale1 * attn(norm1(x))
    x = x + scale2 * mlp(norm2(x)) + moase(x)
    """

    def __init__(self, spec: SidecarSpec) -> None:
        super().__init__()
        width = spec.heads * spec.head_width
        self.heads = spec.heads
        self.activation = ACTIVATIONS[spec.activation]
        self.norm1 = nn.LayerNorm(spec.channels, eps=spec.norm_eps)
        self.qkv = nn.Linear(spec.channels, 3 * width, bias=spec.qkv_bias)
        self.proj = nn.Linear(width, spec.channels, bias=spec.proj_bias)
        self.norm2 = nn.LayerNorm(spec.channels, eps=spec.norm_eps)
        self.fc1 = nn.Linear(spec.channels, spec.hidden, bias=spec.proj_bias)
        self.fc2 = nn.Linear(spec.hidden, spec.channels, bias=spec.proj_bias)
        self.scale1 = nn.Parameter(torch.ones(spec.channels)) if spec.layer_scale else None
        self.scale2 = nn.Parameter(torch.ones(spec.channels)) if spec.layer_scale else None

    def forward(self, x: Tensor, moase: MoaseAdapter, queries: int) -> Tensor:
        """(B, N, C) -> (B, queries, C): the block's output for its first `queries` tokens."""
        branch = self.attention(self.norm1(x), queries)
        mid = x[:, :queries] + (branch if self.scale1 is None else branch * self.scale1)
        branch = self.fc2(self.activation(self.fc1(self.norm2(mid))))
        y: Tensor = mid + (branch if self.scale2 is None else branch * self.scale2) + moase(mid)
        return y

    def attention(self, x: Tensor, queries: int) -> Tensor:
        """Self-attention of the first `queries` tokens over all tokens: (B, N, C) -> (B, queries, C)."""
        B, N, _ = x.shape
        # (B, N, 3, H, D) -> three of (B, H, N, D)
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q[:, :, :queries], k, v)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(B, queries, -1))
        return projected


class AttentionPool(nn.Module):
    """Pooling by learned queries that attend to the tokens; the first query's answer is the feature."""

    def __init__(self, spec: AttentionPoolSpec, channels: int) -> None:
        super().__init__()
        self.heads = spec.heads
        self.activation = ACTIVATIONS[spec.activation]
        self.latent = nn.Parameter(torch.zeros(1, spec.queries, channels))
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels, eps=spec.norm_eps)
        self.fc1 = nn.Linear(channels, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, C)."""
        B, N, C = x.shape
        q = self.query(self.latent[:, :1]).expand(B, -1, -1).reshape(B, 1, self.heads, -1).transpose(1, 2)
        # (B, N, 2, H, D) -> two of (B, H, N, D)
        k, v = self.key_value(x).reshape(B, N, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        pooled = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, C))
        mixed: Tensor = pooled + self.fc2(self.activation(self.fc1(self.norm(pooled))))
        return mixed


def pool_tokens(x: Tensor, spec: SidecarSpec) -> Tensor:
    """Pooling without weights: (B, N, C) -> (B, C)."""
    if spec.pooling == "token":
        return x[:, 0]
    tokens = x if spec.pool_prefix else x[:, spec.prefix_tokens :]
    if spec.pooling == "avg":
        return tokens.mean(dim=1)
    if spec.pooling == "max":
        return tokens.amax(dim=1)
    return 0.5 * (tokens.amax(dim=1) + tokens.mean(dim=1))
