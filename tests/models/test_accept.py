from __future__ import annotations

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError
from moase_edge.models.accept import activation_of, refuse_unsupported
from moase_edge.models.names import SHORT_NAMES
from moase_edge.models.split import sidecar_spec, sidecar_state
from tests.models.outlines import outline


def refusal_of(model: nn.Module, name: str = "it") -> str:
    with pytest.raises(ConfigError) as caught:
        refuse_unsupported(model, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("resnet18", "it is a ResNet, not a VisionTransformer"),
        ("swin_tiny_patch4_window7_224", "it is a SwinTransformer"),
        ("cait_xxs24_224", "it is a Cait"),
        ("beit_base_patch16_224", "it is a Beit"),
        ("eva02_tiny_patch14_224", "it is a Eva"),
        ("vit_base_patch16_rpn_224", "block 0 is a ResPostBlock"),
        ("vit_small_patch16_18x2_224", "block 0 is a ParallelThingsBlock"),
        ("vit_medium_patch16_rope_reg1_gap_256", "it is a Eva"),
        ("vit_giant_patch14_dinov2", "an MLP of type GluMlp"),
        ("vit_small_r26_s32_224", "its patch embedding is a HybridEmbed"),
        ("vit_base_mci_224", "its patch embedding is a HybridEmbed"),
        ("vitamin_small_224", "its patch embedding is a HybridEmbed"),
    ],
)
def test_only_plain_pre_norm_transformers_are_accepted(name: str, part: str) -> None:
    message = refusal_of(outline(name), name)
    assert message.startswith(f"{name} cannot be split: ")
    assert part in message
    assert "such as vit_t16, " in message


TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5}


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"qk_norm": True}, "a norm or a gate inside its attention"),
        ({"scale_attn_norm": True}, "a norm or a gate inside its attention"),
        ({"scale_mlp_norm": True}, "an MLP of type Mlp, or one with a norm inside"),
        ({"norm_layer": "rmsnorm"}, "norms of type RmsNorm, not LayerNorm"),
        ({"act_layer": "hard_swish"}, "the activation"),
        ({"in_chans": 1}, "it takes 1 channels, frames have 3"),
        ({"global_pool": ""}, "its pooling is 'none'"),
    ],
)
def test_a_part_that_the_tail_does_not_compute_is_named(options: dict[str, object], part: str) -> None:
    assert part in refusal_of(VisionTransformer(**{**TINY, **options}))


def test_a_part_replaced_by_hand_is_refused() -> None:
    headed = VisionTransformer(**TINY)
    headed.head = nn.Sequential(nn.Linear(32, 5))
    assert "its head is a Sequential" in refusal_of(headed)
    odd = VisionTransformer(**TINY)
    odd.blocks[1].mlp.act = nn.Tanh()
    assert "block 1 has the activation Tanh" in refusal_of(odd)
    subclass = type("MyTransformer", (VisionTransformer,), {})(**TINY)
    assert "it is a MyTransformer" in refusal_of(subclass)


def test_activations_are_told_apart() -> None:
    assert activation_of(nn.GELU()) == "gelu"
    assert activation_of(nn.GELU(approximate="tanh")) == "gelu-tanh"
    assert activation_of(nn.SiLU()) == "silu"


def _names() -> list[str]:
    """Every eighth of timm's names, so that most families take part, and all that have a short name."""
    return [*SHORT_NAMES.values(), *timm.list_models(module="vision_transformer")[::8]]


def test_whatever_is_accepted_has_a_sidecar_that_takes_exactly_its_weights() -> None:
    moase, accepted = MoaseSettings(), 0
    for name in _names():
        model = outline(name)
        try:
            refuse_unsupported(model, name)
        except ConfigError:
            continue
        accepted += 1
        spec = sidecar_spec(model, moase, 2)
        with torch.device("meta"):
            sidecar = Sidecar(spec, moase)
        expected = {
            name: weight.shape for name, weight in sidecar.state_dict().items() if not name.startswith("adapters.")
        }
        assert {name: weight.shape for name, weight in sidecar_state(model, 2).items()} == expected, name
    assert accepted > 30
