"""Short names of backbones beside timm's own."""

from __future__ import annotations

import difflib
import textwrap

from moase_edge.errors import ConfigError

_WIDTH = 80

SHORT_NAMES: dict[str, str] = {
    "vit_t16": "vit_tiny_patch16_224",
    "vit_s16": "vit_small_patch16_224",
    "vit_b16": "vit_base_patch16_224",
    "vit_l16": "vit_large_patch16_224",
    "vit_s32": "vit_small_patch32_224",
    "vit_b32": "vit_base_patch32_224",
    "vit_t16_384": "vit_tiny_patch16_384",
    "vit_s16_384": "vit_small_patch16_384",
    "vit_b16_384": "vit_base_patch16_384",
    "vit_l16_384": "vit_large_patch16_384",
    "vit_b16_gap": "vit_base_patch16_gap_224",
    "deit_tiny": "deit_tiny_patch16_224",
    "deit_small": "deit_small_patch16_224",
    "deit_base": "deit_base_patch16_224",
    "deit_base_384": "deit_base_patch16_384",
    "deit_tiny_distilled": "deit_tiny_distilled_patch16_224",
    "deit_small_distilled": "deit_small_distilled_patch16_224",
    "deit_base_distilled": "deit_base_distilled_patch16_224",
    "deit3_small": "deit3_small_patch16_224",
    "deit3_base": "deit3_base_patch16_224",
    "deit3_large": "deit3_large_patch16_224",
    "dinov2_s14": "vit_small_patch14_dinov2",
    "dinov2_b14": "vit_base_patch14_dinov2",
    "dinov2_s14_reg4": "vit_small_patch14_reg4_dinov2",
    "dinov2_b14_reg4": "vit_base_patch14_reg4_dinov2",
    "siglip_b16": "vit_base_patch16_siglip_224",
}


def resolve_name(name: str) -> str:
    """timm's name of a backbone, from a short name or from itself; it may end in the tag of some weights.

    Raises:
        ConfigError: neither knows it; lists the nearest names.
    """
    import timm

    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    architecture, _, tag = name.partition(".")
    tagged = timm.list_pretrained(f"{architecture}.*") if tag and timm.is_model(architecture) else []
    if name in tagged or (timm.is_model(name) and not tag):
        return name
    listed = [*timm.list_models(module="vision_transformer"), *timm.list_models(module="deit")]
    near = difflib.get_close_matches(
        name.lower().replace("-", "_"), tagged or [*SHORT_NAMES, *listed], n=4, cutoff=0.4
    )
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    names = textwrap.fill(", ".join(SHORT_NAMES), width=_WIDTH, initial_indent="  ", subsequent_indent="  ")
    raise ConfigError(
        f"no backbone is called {name!r}. {hint}Short names:\n{names}\n"
        "timm's own names of plain vision transformers are taken too."
    )
