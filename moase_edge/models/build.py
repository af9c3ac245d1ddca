"""Build a backbone with its weights and its own preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from moase_edge.artifact.files import sha256_of
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.config.base import load_settings
from moase_edge.data.digits import digits_model_arguments, digits_preprocess, digits_weights_path
from moase_edge.errors import CheckpointError, ConfigError, ExportError
from moase_edge.models.accept import refuse_unsupported
from moase_edge.models.checkpoint import classes_in, fit_checkpoint, read_checkpoint
from moase_edge.models.names import resolve_name

DIGITS = "digits_vit"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A vision transformer in evaluation mode, float32, on the CPU, with what is known of it.

    Attributes:
        model: timm's VisionTransformer (or its distilled form).
        name: what was asked for; `architecture` is timm's name.
        weights: where they came from; `checkpoint_sha256` names the file's bytes.
        labels: class names, where the weights come with them.
    """

    model: nn.Module
    name: str
    architecture: str
    preprocess: PreprocessSpec
    weights: Literal["pretrained", "checkpoint", "random"]
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    labels: tuple[str, ...] | None = None


def build_backbone(
    name: str,
    *,
    checkpoint: Path | None = None,
    pretrained: bool | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Backbone:
    """Build a backbone by name.

    Args:
        name: a short name (see `SHORT_NAMES`), timm's own, or `digits_vit`, the demo's.
        checkpoint: file of weights; its head sets the number of classes unless `num_classes` does.
        pretrained: fetch the published weights; by default only where no checkpoint is given.
        num_classes: K; 0 for no head.
        seed: of random weights.

    Raises:
        ConfigError: unknown or unfitting name, or arguments that contradict each other.
        CheckpointError: weights that cannot be read, fetched or fitted.
    """
    if checkpoint is not None and pretrained:
        raise ConfigError("--checkpoint and --pretrained exclude each other: name one origin of the weights.")
    if name == DIGITS:
        return _build_digits(checkpoint, pretrained=pretrained, num_classes=num_classes, seed=seed)
    architecture = resolve_name(name)
    if checkpoint is not None:
        state = read_checkpoint(checkpoint)
        classes = classes_in(state) if num_classes is None else num_classes
        model = _create(architecture, name, num_classes=classes, seed=seed)
        fit_checkpoint(model, state, checkpoint)
        return _backbone(model, name, architecture, "checkpoint", checkpoint=checkpoint)
    if pretrained is False:
        model = _create(architecture, name, num_classes=num_classes, seed=seed)
        return _backbone(model, name, architecture, "random")
    model = _fetch(architecture, name, num_classes)
    return _backbone(model, name, architecture, "pretrained", labels=_imagenet_labels(model))


def _backbone(
    model: nn.Module,
    name: str,
    architecture: str,
    weights: Literal["pretrained", "checkpoint", "random"],
    *,
    checkpoint: Path | None = None,
    labels: tuple[str, ...] | None = None,
    preprocess: PreprocessSpec | None = None,
) -> Backbone:
    refuse_unsupported(model, name)
    return Backbone(
        model=model.eval().requires_grad_(False),
        name=name,
        architecture=architecture,
        preprocess=preprocess or preprocess_of(model),
        weights=weights,
        checkpoint=checkpoint.name if checkpoint else None,
        checkpoint_sha256=sha256_of(checkpoint) if checkpoint else None,
        labels=labels,
    )


def _create(architecture: str, name: str, *, num_classes: int | None, seed: int, **arguments: Any) -> nn.Module:
    """A model with seeded random weights; the caller's random state stays as it was."""
    import timm

    if num_classes is not None:
        arguments["num_classes"] = num_classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model: nn.Module = timm.create_model(architecture, pretrained=False, **arguments)
        except (RuntimeError, TypeError, ValueError, AssertionError) as exc:
            raise ExportError(f"timm could not build {name}: {exc}. Try another backbone.") from exc
    return model


def _fetch(architecture: str, name: str, num_classes: int | None) -> nn.Module:
    """A model with its published weights. Any failure of any of the libraries below means: not to be had."""
    import timm

    arguments = {} if num_classes is None else {"num_classes": num_classes}
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=True, **arguments)
    except Exception as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise CheckpointError(
            f"the pretrained weights of {name} could not be fetched: {reason}\n"
            "Give a local file with --checkpoint, or --no-pretrained for random weights (to try things out)."
        ) from exc
    return model


def _imagenet_labels(model: nn.Module) -> tuple[str, ...] | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(model)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def preprocess_of(model: nn.Module) -> PreprocessSpec:
    """A model's own preprocessing, at the input size that it was built with."""
    from timm.data import resolve_model_data_config

    config: Mapping[str, Any] = resolve_model_data_config(model)
    height, width = model.patch_embed.img_size  # type: ignore[union-attr,misc]
    return load_settings(
        PreprocessSpec,
        {
            "height": height,
            "width": width,
            "crop_pct": config["crop_pct"],
            "crop_mode": config["crop_mode"],
            "interpolation": config["interpolation"],
            "mean": tuple(config["mean"]),
            "std": tuple(config["std"]),
        },
    )


def _build_digits(
    checkpoint: Path | None, *, pretrained: bool | None, num_classes: int | None, seed: int
) -> Backbone:
    """The demo's small transformer; its weights ship with the package."""
    from timm.models.vision_transformer import VisionTransformer

    arguments = digits_model_arguments()
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(**arguments)
    path = checkpoint or digits_weights_path()
    if checkpoint is None and pretrained is False:
        return _backbone(model, DIGITS, DIGITS, "random", preprocess=digits_preprocess())
    fit_checkpoint(model, read_checkpoint(path), path)
    origin: Literal["checkpoint", "pretrained"] = "checkpoint" if checkpoint else "pretrained"
    return _backbone(model, DIGITS, DIGITS, origin, checkpoint=path, preprocess=digits_preprocess())
