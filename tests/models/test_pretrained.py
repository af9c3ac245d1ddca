"""Published weights, with timm and the hub replaced: no test here asks a network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from moase_edge.errors import CheckpointError, ConfigError
from moase_edge.models import build
from moase_edge.models.build import build_backbone
from tests.models.outlines import digest, outline


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Published weights come from timm's random start; lists what timm was asked for."""
    create, asked = timm.create_model, []

    def fake(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            asked.append({"name": name, **options})
        model: nn.Module = create(name, pretrained=False, **options)
        return model

    monkeypatch.setattr(timm, "create_model", fake)
    monkeypatch.setattr(build, "_reach", lambda outline: None)
    return asked


def test_published_weights_are_the_default_and_bring_imagenets_names(published: list[Any]) -> None:
    backbone = build_backbone("test_vit")
    assert published == [{"name": "test_vit"}]
    assert backbone.weights == "pretrained"
    assert backbone.labels is not None
    assert len(backbone.labels) == 1000
    assert "tench" in backbone.labels[0]


def test_a_head_of_other_classes_is_seeded_and_warned_of(
    published: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        first, again = (build_backbone("test_vit", num_classes=7, seed=1) for _ in range(2))
    assert published == [{"name": "test_vit", "num_classes": 7}] * 2
    assert digest(first.model) == digest(again.model)
    assert first.labels is None
    assert "have 1000 classes; the head of 7 classes is random" in caplog.text


def test_no_head_and_the_published_number_are_no_reason_to_warn(
    published: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build_backbone("test_vit", num_classes=0)
        build_backbone("test_vit", num_classes=1000)
    assert len(published) == 2
    assert not caplog.records


def test_the_callers_random_state_is_left_alone(published: list[Any]) -> None:
    before = torch.get_rng_state()
    build_backbone("test_vit")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["resnet18", "vit_base_patch16_rpn_224", "vit_small_r26_s32_224"])
def test_a_backbone_that_cannot_be_split_is_refused_before_anything_is_fetched(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} cannot be split"):
        build_backbone(name)


@pytest.mark.parametrize("failure", [OSError("no route to host\nmore"), RuntimeError(""), KeyError("x")])
def test_weights_that_cannot_be_had_name_the_two_ways_out(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(outline: nn.Module) -> None:
        raise failure

    monkeypatch.setattr(build, "_reach", fail)
    with pytest.raises(CheckpointError, match=r"vit_t16 could not be fetched: .") as caught:
        build_backbone("vit_t16")
    assert "--checkpoint" in str(caught.value)
    assert "--no-pretrained" in str(caught.value)
    assert "more" not in str(caught.value)
    assert caught.value.__cause__ is failure


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Installs a hub that answers, or fails, or whose cache holds a file; gives the list of what it was asked."""

    def install(*, cached: str | None = None, failure: Exception | None = None) -> list[str]:
        asked: list[str] = []

        def metadata(url: str) -> None:
            asked.append(url)
            if failure is not None:
                raise failure

        monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", metadata)
        monkeypatch.setattr(
            "huggingface_hub.try_to_load_from_cache", lambda repo, file, **_: file if file == cached else None
        )
        return asked

    return install


def test_it_is_asked_once_for_the_models_own_weights(hub: Callable[..., list[str]]) -> None:
    asked = hub()
    build._reach(outline("vit_tiny_patch16_224"))
    assert len(asked) == 1
    assert "/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/" in asked[0]
    assert asked[0].endswith("/model.safetensors")


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_in_the_cache_need_no_network(hub: Callable[..., list[str]], file: str) -> None:
    asked = hub(cached=file, failure=OSError("no network"))
    build._reach(outline("test_vit"))
    assert not asked


def test_no_answer_is_an_error_and_is_not_tried_again(hub: Callable[..., list[str]]) -> None:
    asked = hub(failure=OSError("no network"))
    with pytest.raises(OSError, match="no network"):
        build._reach(outline("test_vit"))
    assert len(asked) == 1


def test_an_answer_of_the_hub_is_left_to_timm(hub: Callable[..., list[str]]) -> None:
    asked = hub(failure=HfHubHTTPError.__new__(HfHubHTTPError))
    build._reach(outline("test_vit"))
    assert len(asked) == 1
