"""The cut: a frozen backbone that returns taps, and what the sidecar takes over from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.artifact.specs import SHIFT, TOKEN_MEANS, AttentionPoolSpec, SidecarSpec, TensorSpec
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError
from moase_edge.models.accept import activation_of

# Our names of a tail block's parts, by timm's.
_BLOCK_PARTS = {
    "norm1": "norm1",
    "attn.qkv": "qkv",
    "attn.proj": "proj",
    "ls1.gamma": "scale1",
    "norm2": "norm2",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
    "ls2.gamma": "scale2",
}
# Is given a block's index and the stream (B, N, C) at its entrance, and returns what shall enter.
Entrance = Callable[[int, Tensor], Tensor]
_POOL_PARTS = {
    "latent": "latent",
    "q": "query",
    "kv": "key_value",
    "proj": "proj",
    "norm": "norm",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}


class FrozenBackbone(nn.Module):
    """Everything up to and including the frozen compute of the first adapted block, and the frozen answer.

    Returns `mid`, that block's residual stream after attention, `out = mid + ls2(mlp(norm2(mid)))`, and `logits`.
    Where only the first few tokens are read after a block (class-token pooling), its queries, projection and MLP
    are computed for those alone: the same answer for 7 % less of a 12-block model.

    Args:
        model: an accepted VisionTransformer, in evaluation mode.
        spec: of the sidecar that continues from the taps.
    """

    def __init__(self, model: nn.Module, spec: SidecarSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> mid (B, P, C), out (B, P, C), logits (B, K); P = `tap_tokens`."""
        return run_frozen(self.model, self.spec, images, lambda _index, x: x)


def run_frozen(model: Any, spec: SidecarSpec, images: Tensor, enter: Entrance) -> tuple[Tensor, Tensor, Tensor]:
    """`mid`, `out` and `logits` as `FrozenBackbone` returns them, with `enter` at every block."""
    last, first = spec.depth - 1, spec.depth - spec.adapt_blocks
    blocks = list(model.blocks)
    x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    for index in range(first):
        x = blocks[index](enter(index, x))
    mid = attend(blocks[first], enter(first, x), spec.tap_tokens)
    out = transform(blocks[first], mid)
    x = out
    for index in range(first + 1, last):
        x = blocks[index](enter(index, x))
    if spec.adapt_blocks > 1:
        x = transform(blocks[last], attend(blocks[last], enter(last, x), spec.read_tokens))
    logits = model.forward_head(model.norm(x[:, : spec.read_tokens]))
    return mid, out, logits


def attend(block: Any, x: Tensor, queries: int) -> Tensor:
    """The residual stream after attention, for the first `queries` tokens.

    Keys and values come from all tokens, so each row equals that of the whole block.

    Args:
        x: (B, N, C).

    Returns:
        (B, queries, C).
    """
    B, N, _ = x.shape
    normed = block.norm1(x)
    if queries == N:
        return cast(Tensor, x + block.ls1(block.attn(normed)))
    attn = block.attn
    width = attn.num_heads * attn.head_dim
    q_weight, kv_weight = attn.qkv.weight[:width], attn.qkv.weight[width:]
    q_bias, kv_bias = (None, None) if attn.qkv.bias is None else (attn.qkv.bias[:width], attn.qkv.bias[width:])
    q = F.linear(normed[:, :queries], q_weight, q_bias).reshape(B, queries, attn.num_heads, attn.head_dim)
    k, v = F.linear(normed, kv_weight, kv_bias).reshape(B, N, 2, attn.num_heads, attn.head_dim).unbind(2)
    mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    branch = attn.proj(mixed.transpose(1, 2).reshape(B, queries, width))
    return cast(Tensor, x[:, :queries] + block.ls1(branch))


def transform(block: Any, mid: Tensor) -> Tensor:
    """The block's MLP branch on top of its attention branch: (B, P, C) -> (B, P, C)."""
    return cast(Tensor, mid + block.ls2(block.mlp(block.norm2(mid))))


def sidecar_spec(model: nn.Module, moase: MoaseSettings, adapt_blocks: int) -> SidecarSpec:
    """Describe the sidecar of an accepted model.

    Raises:
        ConfigError: `adapt_blocks` is not within 1..L.
    """
    vit = cast(Any, model)
    depth = len(vit.blocks)
    if not 1 <= adapt_blocks <= depth:
        raise ConfigError(
            f"--adapt-blocks must be from 1 to {depth}, the blocks of this backbone; got {adapt_blocks}."
        )
    last = vit.norm if isinstance(vit.norm, nn.LayerNorm) else vit.blocks[-1].norm2
    distilled = hasattr(vit, "head_dist")
    tokens = vit.patch_embed.num_patches + vit.num_prefix_tokens
    read = tokens if vit.global_pool != "token" else 2 if distilled else 1
    per_token = moase.preset == "edge"
    head = vit.head if isinstance(vit.head, nn.Linear) else None
    return SidecarSpec(
        channels=vit.embed_dim,
        tokens=tokens,
        tap_tokens=read if adapt_blocks == 1 and per_token else tokens,
        read_tokens=read,
        prefix_tokens=vit.num_prefix_tokens,
        depth=depth,
        adapt_blocks=adapt_blocks,
        norm_eps=last.eps,
        **_block_fields(vit.blocks[-1]),
        final_norm=isinstance(vit.norm, nn.LayerNorm),
        fc_norm=isinstance(vit.fc_norm, nn.LayerNorm),
        pooling=vit.global_pool,
        pool_prefix=vit.pool_include_prefix,
        attention_pool=_attention_pool_spec(vit.attn_pool),
        distilled=distilled,
        classes=vit.num_classes if head is not None else 0,
        head_bias=head is not None and head.bias is not None,
    )


def _block_fields(block: Any) -> dict[str, Any]:
    """What a `SidecarSpec` says of its blocks."""
    return {
        "heads": block.attn.num_heads,
        "head_width": block.attn.head_dim,
        "hidden": block.mlp.fc1.out_features,
        "activation": activation_of(block.mlp.act),
        "layer_scale": not isinstance(block.ls1, nn.Identity),
        "qkv_bias": block.attn.qkv.bias is not None,
        "proj_bias": block.attn.proj.bias is not None,
    }


def _attention_pool_spec(pool: Any) -> AttentionPoolSpec | None:
    if pool is None:
        return None
    return AttentionPoolSpec(
        heads=pool.num_heads,
        queries=pool.latent_len,
        hidden=pool.mlp.fc1.out_features,
        norm_eps=pool.norm.eps,
        activation=activation_of(pool.mlp.act),
    )


def sidecar_state(model: nn.Module, adapt_blocks: int) -> dict[str, Tensor]:
    """The frozen weights that the sidecar takes over, under its own names: tail blocks, norms, pooling, heads."""
    vit = cast(Any, model)
    tail = vit.blocks[len(vit.blocks) - adapt_blocks + 1 :]
    state: dict[str, Tensor] = {}
    for index, block in enumerate(tail):
        state.update(_renamed(block.state_dict(), _BLOCK_PARTS, f"blocks.{index}"))
    if vit.attn_pool is not None:
        state.update(_renamed(vit.attn_pool.state_dict(), _POOL_PARTS, "pool"))
    for name in ("norm", "fc_norm", "head", "head_dist"):
        part = getattr(vit, name, None)
        if part is not None:
            state.update({f"{name}.{key}": tensor for key, tensor in part.state_dict().items()})
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def _renamed(state: dict[str, Tensor], parts: dict[str, str], prefix: str) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        part = next(part for part in parts if name == part or name.startswith(part + "."))
        renamed[f"{prefix}.{parts[part]}{name[len(part) :]}"] = tensor
    return renamed


def tensor_specs(
    spec: SidecarSpec, height: int, width: int, *, steer: bool = False
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the engine of this split; `steer`: of one that can be steered."""
    taps = (None, spec.tap_tokens, spec.channels)
    answer = "the frozen model's logits" if spec.classes else "the frozen model's pooled features (it has no head)"
    images = TensorSpec(name="images", shape=(None, 3, height, width), meaning="preprocessed frames, RGB")
    outputs = (
        TensorSpec(name="mid", shape=taps, meaning="first adapted block's residual stream after attention"),
        TensorSpec(name="out", shape=taps, meaning="mid plus the block's frozen MLP branch"),
        TensorSpec(name="logits", shape=(None, spec.classes or spec.channels), meaning=answer),
    )
    if not steer:
        return (images,), outputs
    blocks = (None, spec.depth, spec.channels)
    shift = TensorSpec(name=SHIFT, shape=blocks, meaning="added to the patch tokens that enter each block")
    means = TensorSpec(
        name=TOKEN_MEANS, shape=blocks, meaning="mean patch token at each block's entrance, before its shift"
    )
    return (images, shift), (*outputs, means)
