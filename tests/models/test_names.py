from __future__ import annotations

import pytest
import timm

from moase_edge.errors import ConfigError
from moase_edge.models.accept import refuse_unsupported
from moase_edge.models.names import SHORT_NAMES, resolve_name
from tests.models.outlines import outline


@pytest.mark.parametrize("short", SHORT_NAMES)
def test_every_short_name_is_a_timm_model_that_can_be_split(short: str) -> None:
    name = resolve_name(short)
    assert timm.is_model(name)
    refuse_unsupported(outline(name), short)


def test_no_short_name_hides_one_of_timms() -> None:
    assert not [short for short in SHORT_NAMES if timm.is_model(short)]
    assert len(set(SHORT_NAMES.values())) == len(SHORT_NAMES)


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "resnet18", "vit_base_patch16_224.augreg2_in21k_ft_in1k"]
)
def test_timms_own_names_stand_for_themselves(name: str) -> None:
    assert resolve_name(name) == name


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("vit_b_16", "vit_b16"),
        ("ViT-B16", "vit_b16"),
        ("deit_tny", "deit_tiny"),
        ("vit_base_patch16_225", "vit_base_patch16_224"),
        ("vit_base_patch16_224.augreg_in1", "vit_base_patch16_224.augreg_in1k"),
    ],
)
def test_unknown_name_is_answered_with_near_ones(wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"no backbone is called '{wrong}'. Did you mean [^?]*\b{near}\b"):
        resolve_name(wrong)


@pytest.mark.parametrize("wrong", ["", "zzzzzz", "hf-hub:someone/model", "local-dir:/etc", ".tag"])
def test_name_that_resembles_none_is_answered_with_the_short_ones(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"Short names:\n  vit_t16, [^$]*siglip_b16\n") as caught:
        resolve_name(wrong)
    assert max(map(len, str(caught.value).splitlines()[1:])) <= 80
    assert caught.value.exit_code == 2
