"""Source training."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.train.augment import LightAugment
from moase_edge.train.evaluate import top1_percent
from moase_edge.train.source import EpochResult, Recipe, _parameter_groups, lr_factor, train_source


def bright_or_dark(count: int = 64) -> tuple[Tensor, Tensor]:
    """Pictures of noise whose mean is above 0 (class 1) or below (class 0)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    offset = (labels * 2.0 - 1).view(-1, 1, 1, 1)
    return offset + 0.3 * torch.randn(count, 3, 8, 8, generator=generator), labels


def small_vit(drop_rate: float = 0.1) -> VisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(
            img_size=8, patch_size=4, num_classes=2, embed_dim=16, depth=1, num_heads=2, proj_drop_rate=drop_rate
        )


def train(
    model: nn.Module,
    seed: int = 0,
    epochs: int = 8,
    lr: float = 3e-3,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> list[EpochResult]:
    recipe, augment = Recipe(epochs, 24, lr, weight_decay=0.05), LightAugment(max_contrast=0.2)
    result = train_source(model, *bright_or_dark(), recipe, seed=seed, augment=augment, on_epoch=on_epoch)
    return list(result.epochs)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_two_classes_are_learned() -> None:
    model = small_vit()
    images, labels = bright_or_dark()
    epochs = train(model)
    assert top1_percent(model, images, labels) == 100
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].train_top1_percent > 95


def test_run_repeats_bit_for_bit_with_its_seed_whatever_the_global_generator() -> None:
    first, second, other = small_vit(), small_vit(), small_vit()
    results = train(first, seed=1, epochs=2)
    torch.rand(5)
    assert train(second, seed=1, epochs=2) == results
    assert torch.equal(weights(first), weights(second))
    train(other, seed=2, epochs=2)
    assert not torch.equal(weights(first), weights(other))


def test_global_generator_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    train(small_vit(), epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_are_left_as_they_were_and_the_model_in_evaluation_mode() -> None:
    model = small_vit()
    images, labels = bright_or_dark()
    train_source(model, images, labels, Recipe(1, 64, 1e-3, 0.0), seed=0)
    assert torch.equal(images, bright_or_dark()[0])
    assert not model.training


def test_every_weight_is_trained() -> None:
    model = small_vit()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, epochs=1)
    assert [name for name, value in model.state_dict().items() if torch.equal(value, before[name])] == []


def test_frozen_weights_stay() -> None:
    model = small_vit()
    model.cls_token.requires_grad_(False)
    before = model.cls_token.clone()
    train(model, epochs=1)
    assert torch.equal(model.cls_token, before)


def test_epochs_are_reported_as_they_end() -> None:
    reported: list[EpochResult] = []
    epochs = train(small_vit(), epochs=3, on_epoch=reported.append)
    assert reported == epochs
    assert [result.epoch for result in reported] == [0, 1, 2]


def test_every_picture_is_seen_once_an_epoch_and_steps_are_counted() -> None:
    seen: list[int] = []

    def remember(batch: Tensor, generator: torch.Generator) -> Tensor:
        seen.extend(batch[:, 0, 0, 0].int().tolist())
        return batch

    images = torch.arange(10.0).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    result = train_source(
        model,
        images,
        torch.arange(10) % 2,
        Recipe(epochs=2, batch_size=4, lr=1e-3, weight_decay=0.0),
        seed=0,
        augment=remember,
    )
    assert result.steps == 6
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_first_epoch_has_the_hand_computed_loss() -> None:
    # Logits of 0 give log 2 whatever the smoothing; one step an epoch, so it is the loss before any update.
    head = nn.Linear(192, 2)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(nn.Flatten(), head)
    images, labels = bright_or_dark()
    result = train_source(model, images, labels, Recipe(1, 64, 1e-3, 0.0), seed=0)
    assert result.epochs[0].loss == pytest.approx(math.log(2), abs=1e-6)
    # Adam's first step moves each weight by the learning rate, which one warm-up step has at its highest.
    assert head.weight.detach().abs().max().item() == pytest.approx(1e-3, rel=1e-3)


def test_learning_rate_rises_then_falls_to_zero_along_a_cosine() -> None:
    assert [lr_factor(step, 100) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert lr_factor(55, 100) == pytest.approx(0.5)
    assert lr_factor(100, 100) == pytest.approx(0.0)
    assert lr_factor(0, 1) == 1.0


def test_biases_norms_and_exempt_tokens_do_not_decay() -> None:
    model = small_vit()
    decayed, plain = (group["params"] for group in _parameter_groups(model, 0.05))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)] for p in decayed} == {
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.proj.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "head.weight",
    }
    assert len(decayed) + len(plain) == len(names)


def test_loss_that_is_not_finite_stops_the_training() -> None:
    images, labels = bright_or_dark()
    images[3, 0, 0, 0] = math.nan
    with pytest.raises(AdaptationError, match=r"nan.*lower the learning rate"):
        train_source(small_vit(), images, labels, Recipe(1, 64, 1e-3, 0.0), seed=0)


@pytest.mark.parametrize(
    ("count", "labels", "epochs", "batch_size", "lr"),
    [(0, 0, 1, 1, 1e-3), (2, 1, 1, 1, 1e-3), (2, 2, 0, 1, 1e-3), (2, 2, 1, 0, 1e-3), (2, 2, 1, 1, 0.0)],
)
def test_wrong_arguments_are_refused(count: int, labels: int, epochs: int, batch_size: int, lr: float) -> None:
    with pytest.raises(ConfigError, match="expected"):
        train_source(
            small_vit(),
            torch.zeros(count, 3, 8, 8),
            torch.zeros(labels, dtype=torch.int64),
            Recipe(epochs, batch_size, lr, weight_decay=0.0),
            seed=0,
        )
