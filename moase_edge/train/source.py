"""Supervised training of a source model on labelled pictures."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from moase_edge.errors import AdaptationError, ConfigError

logger = logging.getLogger(__name__)

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Takes a batch on the CPU, B x 3 x H x W, and a CPU generator; returns a batch of the same shape."""

WARMUP_SHARE = 0.1
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a source model is trained.

    AdamW (Loshchilov and Hutter, 2019) with a linear warm-up over the first tenth of the steps, then a cosine
    to zero (Loshchilov and Hutter, 2017); cross-entropy with smoothed labels (Szegedy et al., 2016). Biases,
    norms and what the model's own `no_weight_decay()` names are not decayed.

    Args:
        epochs: passes over the pictures.
        lr: the highest learning rate.
        label_smoothing: share of each label that all classes have alike.

    Raises:
        ConfigError: a number out of range.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.lr <= 0:
            raise ConfigError(
                f"epochs is {self.epochs}, batch_size {self.batch_size}, lr {self.lr}; "
                "expected at least 1, at least 1, above 0"
            )


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One pass over the pictures: its number from 0, mean loss, and top-1 on the views that were learned from."""

    epoch: int
    loss: float
    train_top1_percent: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training did: its epochs in order, and the number of optimiser steps."""

    epochs: tuple[EpochResult, ...]
    steps: int


def train_source(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    augment: Augment | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> TrainResult:
    """Train all weights of `model` in place, and leave it on `device` in evaluation mode.

    Order, augmentation and dropout follow from `seed` alone: on a CPU a run repeats bit for bit with the same
    number of threads. PyTorch's global generator is left as it was.

    Args:
        model: maps B x 3 x H x W to B x K logits.
        images, labels: N x 3 x H x W, float32, normalised as the model expects, and N, int64, 0..K-1.
        augment: makes the view of each batch that is learned from.
        on_epoch: called after each epoch.

    Raises:
        ConfigError: no pictures, or not one label for each.
        AdaptationError: the loss left the finite numbers.
    """
    _check(images, labels)
    model.to(device).train()
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch_size)
    step, generator = _stepper(model, recipe, steps), torch.Generator().manual_seed(seed)
    results = []
    with torch.random.fork_rng(_gpu_indices(device)):
        torch.manual_seed(seed)  # for dropout, which draws from the global generator
        for number in range(recipe.epochs):
            batches = _batches(images, labels, recipe.batch_size, augment, generator)
            results.append(_epoch(number, step, batches, device))
            if on_epoch is not None:
                on_epoch(results[-1])
    model.eval()
    return TrainResult(tuple(results), steps)


def _stepper(model: nn.Module, recipe: Recipe, steps: int) -> Callable[[Tensor, Tensor], tuple[float, int]]:
    """Takes one of `steps` steps on a view and its labels; see `_step`."""
    optimizer = torch.optim.AdamW(_parameter_groups(model, recipe.weight_decay), lr=recipe.lr)
    schedule = LambdaLR(optimizer, lambda step: lr_factor(step, steps))
    loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    return partial(_step, model, optimizer, schedule, loss)


def lr_factor(step: int, steps: int) -> float:
    """Share of the highest learning rate at `step` (from 0) of `steps`: a linear rise to 1, then a cosine to 0."""
    warmup = max(1, round(WARMUP_SHARE * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _batches(
    images: Tensor, labels: Tensor, batch_size: int, augment: Augment | None, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over the pictures in a random order: views B x 3 x H x W, and their labels B."""
    for chosen in torch.split(torch.randperm(len(images), generator=generator), batch_size):
        view = images[chosen] if augment is None else augment(images[chosen], generator)
        yield view, labels[chosen]


def _epoch(
    number: int,
    step: Callable[[Tensor, Tensor], tuple[float, int]],
    batches: Iterable[tuple[Tensor, Tensor]],
    device: str | torch.device,
) -> EpochResult:
    seen, loss_sum, correct = 0, 0.0, 0
    for view, target in batches:
        loss, right = step(view.to(device), target.to(device))
        seen, loss_sum, correct = seen + len(view), loss_sum + loss * len(view), correct + right
    result = EpochResult(number, loss_sum / seen, 100 * correct / seen)
    logger.debug("%s", result)
    return result


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    loss_function: nn.Module,
    view: Tensor,
    target: Tensor,
) -> tuple[float, int]:
    """One update; the mean loss and the number of right answers from before it."""
    logits = model(view)
    loss = loss_function(logits, target)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise AdaptationError(
            f"the training loss became {value}; expected a finite number: lower the learning rate, "
            "or look for non-finite pictures"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    schedule.step()
    return value, int((logits.detach().argmax(dim=1) == target).sum())


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and what the model itself exempts do not."""
    exempt_by_model: Callable[[], Iterable[str]] | None = getattr(model, "no_weight_decay", None)
    exempt = set(exempt_by_model()) if exempt_by_model is not None else set()
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim <= 1 or name in exempt else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _gpu_indices(device: str | torch.device) -> list[int]:
    """The GPUs whose generators the training may touch."""
    device = torch.device(device)
    if device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]


def _check(images: Tensor, labels: Tensor) -> None:
    if images.ndim != 4 or not len(images) or labels.shape != images.shape[:1]:
        raise ConfigError(
            f"pictures of shape {tuple(images.shape)} and labels of shape {tuple(labels.shape)}; "
            "expected N x 3 x H x W and N, with N at least 1"
        )
