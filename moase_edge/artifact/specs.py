"""What the manifest says of tensors, the sidecar and the labels, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moase_edge.config.base import Settings

Pooling = Literal["token", "avg", "avgmax", "max", "map"]
Activation = Literal["gelu", "gelu-tanh", "quick-gelu", "relu", "silu"]

# What an engine that can be steered takes beside `images`, and returns beside the others; both (B, L, C).
SHIFT = "shift"
TOKEN_MEANS = "token_means"


class TensorSpec(Settings):
    """One named tensor that goes into or comes out of an engine; `None` in a shape is the batch."""

    name: str
    shape: tuple[int | None, ...]
    dtype: Literal["float32", "float16"] = "float32"
    meaning: str


class AttentionPoolSpec(Settings):
    """Attention pooling with learned queries ("map")."""

    heads: int = Field(gt=0)
    queries: int = Field(gt=0)
    hidden: int = Field(gt=0)
    norm_eps: float = Field(gt=0)
    activation: Activation


class SidecarSpec(Settings):
    """Everything needed to build the sidecar's network, and nothing of timm.

    Attributes:
        channels: C, width of the residual stream.
        tokens: N, tokens in the backbone.
        tap_tokens: tokens that the taps carry: `read_tokens` where adapters act per token in the last block.
        read_tokens: tokens that the pooling reads, counted from the front.
        prefix_tokens: class, distillation and register tokens.
        depth: L, blocks of the backbone.
        adapt_blocks: k, how many of them are adapted, counted from the end.
        heads, head_width: of the tail blocks' attention.
        hidden: width of the tail blocks' MLP.
        activation: of the tail blocks' MLP.
        norm_eps: epsilon of every LayerNorm in the tail.
        layer_scale: whether the tail blocks scale their branches.
        qkv_bias, proj_bias: whether those projections have a bias.
        final_norm: a LayerNorm on tokens after the last block.
        fc_norm: a LayerNorm on the pooled features.
        pooling: how tokens become one vector; `pool_prefix` says whether prefix tokens take part.
        distilled: two heads on two tokens, averaged.
        classes: K; 0 for a backbone without a head, whose answer is its pooled features.
        head_bias: whether the head has a bias.
    """

    channels: int = Field(gt=0)
    tokens: int = Field(gt=0)
    tap_tokens: int = Field(gt=0)
    read_tokens: int = Field(gt=0)
    prefix_tokens: int = Field(ge=0)
    depth: int = Field(gt=0)
    adapt_blocks: int = Field(gt=0)
    heads: int = Field(gt=0)
    head_width: int = Field(gt=0)
    hidden: int = Field(gt=0)
    activation: Activation
    norm_eps: float = Field(gt=0)
    layer_scale: bool
    qkv_bias: bool
    proj_bias: bool
    final_norm: bool
    fc_norm: bool
    pooling: Pooling
    pool_prefix: bool
    attention_pool: AttentionPoolSpec | None
    distilled: bool
    classes: int = Field(ge=0)
    head_bias: bool
