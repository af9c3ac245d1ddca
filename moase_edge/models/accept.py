"""Which backbones can be split, and why another cannot."""

from __future__ import annotations

from typing import Any

from torch import nn

from moase_edge.artifact.specs import Activation
from moase_edge.errors import ConfigError
from moase_edge.models.names import SHORT_NAMES

ACTIVATIONS: dict[str, Activation] = {
    "GELU": "gelu",
    "GELUTanh": "gelu-tanh",
    "QuickGELU": "quick-gelu",
    "ReLU": "relu",
    "SiLU": "silu",
}
POOLINGS = ("token", "avg", "avgmax", "max", "map")


def refuse_unsupported(model: nn.Module, name: str) -> None:
    """Accept vision transformers made of timm's plain pre-norm blocks, refuse everything else.

    Raises:
        ConfigError: says which part does not fit, and names backbones that do.
    """
    fault = _fault_of(model)
    if fault:
        raise ConfigError(
            f"{name} cannot be split: {fault}. Fitting are vision transformers of plain pre-norm blocks, "
            f"such as {', '.join(SHORT_NAMES)}."
        )


def _fault_of(model: Any) -> str | None:  # noqa: PLR0911 - one line a refusal
    from timm.layers import PatchEmbed
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import Block, VisionTransformer

    if type(model) not in (VisionTransformer, VisionTransformerDistilled):
        return f"it is a {type(model).__name__}, not a VisionTransformer"
    if type(model.patch_embed) is not PatchEmbed:
        return f"its patch embedding is a {type(model.patch_embed).__name__}, not a plain PatchEmbed"
    if model.patch_embed.proj.in_channels != 3:
        return f"it takes {model.patch_embed.proj.in_channels} channels, frames have 3 (RGB)"
    if model.global_pool not in POOLINGS:
        return f"its pooling is {model.global_pool or 'none'!r}, not one of {', '.join(POOLINGS)}"
    for index, block in enumerate(model.blocks):
        if type(block) is not Block:
            return f"block {index} is a {type(block).__name__}, not a plain pre-norm Block"
        if fault := _fault_of_block(block):
            return f"block {index} has {fault}"
    return _fault_of_end(model)


def _fault_of_block(block: Any) -> str | None:
    from timm.layers import Mlp
    from timm.layers.attention import Attention

    attn, mlp = block.attn, block.mlp
    if type(attn) is not Attention:
        return f"attention of type {type(attn).__name__}"
    if (
        not all(map(_is_identity, (attn.q_norm, attn.k_norm, attn.norm)))
        or getattr(attn, "gate", None) is not None
    ):
        return "a norm or a gate inside its attention"
    if type(mlp) is not Mlp or not _is_identity(mlp.norm):
        return f"an MLP of type {type(mlp).__name__}, or one with a norm inside"
    if not isinstance(block.norm1, nn.LayerNorm) or not isinstance(block.norm2, nn.LayerNorm):
        return f"norms of type {type(block.norm1).__name__}, not LayerNorm"
    if type(mlp.act).__name__ not in ACTIVATIONS:
        return f"the activation {type(mlp.act).__name__}, not one of {', '.join(ACTIVATIONS)}"
    return None


def _fault_of_end(model: Any) -> str | None:
    for part in (model.norm, model.fc_norm):
        if not (_is_identity(part) or isinstance(part, nn.LayerNorm)):
            return f"its last norm is a {type(part).__name__}, not a LayerNorm"
    for head in (model.head, getattr(model, "head_dist", model.head)):
        if not (_is_identity(head) or isinstance(head, nn.Linear)):
            return f"its head is a {type(head).__name__}, not one linear layer"
    pool = model.attn_pool
    if pool is None:
        return None
    if type(pool).__name__ != "AttentionPoolLatent" or pool.pos_embed is not None or pool.pool != "token":
        return f"its attention pooling ({type(pool).__name__}) has parts that the sidecar does not implement"
    if not _is_identity(pool.q_norm) or pool.mlp is None or _is_identity(pool.q) or _is_identity(pool.norm):
        return "its attention pooling has parts that the sidecar does not implement"
    return None


def _is_identity(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity)


def activation_of(act: nn.Module) -> Activation:
    """Our name of an activation module that was accepted."""
    if isinstance(act, nn.GELU) and act.approximate == "tanh":
        return "gelu-tanh"
    return ACTIVATIONS[type(act).__name__]
