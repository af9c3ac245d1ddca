"""Build a backbone with its weights and its own preprocessing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

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
# The names under which the hub keeps the weights of a timm model.
_PUBLISHED_FILES = ("model.safetensors", "pytorch_model.bin")

logger = logging.getLogger(__name__)


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
        num_classes: K; 0 for no head. Published weights of another K leave the head at its random start.
        seed: of random weights; the caller's random state is left alone.

    Raises:
        ConfigError: unknown or unfitting name (before any weights are read or fetched), or arguments that
            contradict each other.
        CheckpointError: weights that cannot be read, fetched or fitted.
    """
    if checkpoint is not None and pretrained:
        raise ConfigError("--checkpoint and --pretrained exclude each other: name one origin of the weights.")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"a seed is from 0 to 2**63 - 1, got {seed}.")
    if name == DIGITS:
        return _build_digits(checkpoint, pretrained=pretrained, num_classes=num_classes, seed=seed)
    return _build_timm(name, checkpoint, pretrained=pretrained, num_classes=num_classes, seed=seed)


def _build_timm(
    name: str, checkpoint: Path | None, *, pretrained: bool | None, num_classes: int | None, seed: int
) -> Backbone:
    """A vision transformer of timm's."""
    architecture = resolve_name(name)
    outline = _outline(architecture, name)
    if checkpoint is not None:
        state = read_checkpoint(checkpoint)
        classes = classes_in(state) if num_classes is None else num_classes
        model = _create(architecture, name, num_classes=classes, seed=seed)
        fit_checkpoint(model, state, checkpoint)
        return _backbone(model, name, architecture, "checkpoint", checkpoint=checkpoint)
    if pretrained is False:
        model = _create(architecture, name, num_classes=num_classes, seed=seed)
        return _backbone(model, name, architecture, "random")
    model = _fetch(architecture, name, outline, num_classes=num_classes, seed=seed)
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
        checkpoint=os.fsencode(checkpoint.name).decode(errors="replace") if checkpoint else None,
        checkpoint_sha256=sha256_of(checkpoint) if checkpoint else None,
        labels=labels,
    )


def _create(architecture: str, name: str, *, num_classes: int | None, seed: int, **arguments: Any) -> nn.Module:
    """A model with seeded random weights; the caller's random state stays as it was."""
    import timm

    if num_classes is not None:
        arguments["num_classes"] = num_classes
    with _seeded(seed):
        try:
            model: nn.Module = timm.create_model(architecture, pretrained=False, **arguments)
        except (RuntimeError, TypeError, ValueError, AssertionError) as exc:
            raise ExportError(f"timm could not build {name}: {exc}. Try another backbone.") from exc
    return model


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """PyTorch's random numbers on the CPU start from `seed`; the caller's state is put back, on every device."""
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which seeds the GPUs too.
        torch.default_generator.manual_seed(seed)
        yield


def _outline(architecture: str, name: str) -> nn.Module:
    """The model without memory for its weights, so that what cannot be split is refused before any are had."""
    with torch.device("meta"):
        model = _create(architecture, name, num_classes=None, seed=0)
    refuse_unsupported(model, name)
    return model


def _fetch(architecture: str, name: str, outline: nn.Module, *, num_classes: int | None, seed: int) -> nn.Module:
    """A model with its published weights. Any failure of any of the libraries below means: not to be had."""
    import timm

    arguments = {} if num_classes is None else {"num_classes": num_classes}
    try:
        _reach(outline)
        with _seeded(seed):
            model: nn.Module = timm.create_model(architecture, pretrained=True, **arguments)
    except Exception as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise CheckpointError(
            f"the pretrained weights of {name} could not be fetched: {reason}\n"
            "Give a local file with --checkpoint, or --no-pretrained for random weights (to try things out)."
        ) from exc
    published = cast(Any, outline).num_classes
    if num_classes and num_classes != published:
        logger.warning(
            "the published weights of %s have %d classes; the head of %d classes is random.",
            name,
            published,
            num_classes,
        )
    return model


def _reach(outline: nn.Module) -> None:
    """Ask the hub once for the weights, unless they are in its cache; without a network timm would retry for long.

    Raises:
        Exception: of the hub's HTTP library, where no answer comes.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    published = cast(Any, outline).pretrained_cfg
    repository, _, revision = (published.get("hf_hub_id") or "").partition("@")
    files = [published["hf_hub_filename"]] if published.get("hf_hub_filename") else _PUBLISHED_FILES
    at = {"revision": revision or None}
    if not repository or any(isinstance(try_to_load_from_cache(repository, file, **at), str) for file in files):
        return
    with suppress(HfHubHTTPError):  # an answer: what the hub lacks or refuses is for timm to find out
        get_hf_file_metadata(hf_hub_url(repository, files[0], **at))


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
    shipped = checkpoint is None and pretrained is not False
    if shipped and num_classes not in (None, arguments["num_classes"]):
        raise ConfigError(
            f"the weights of {DIGITS} that ship with moase-edge have {arguments['num_classes']} classes, "
            f"--num-classes asks for {num_classes}. Leave it out, or take --no-pretrained or --checkpoint."
        )
    path = digits_weights_path() if shipped else checkpoint
    state = read_checkpoint(path) if path else {}
    classes = classes_in(state) if num_classes is None else num_classes
    if classes is not None:
        arguments["num_classes"] = classes
    with _seeded(seed):
        model = VisionTransformer(**arguments)
    if path:
        fit_checkpoint(model, state, path)
    return _backbone(
        model,
        DIGITS,
        DIGITS,
        "pretrained" if shipped else "checkpoint" if path else "random",
        checkpoint=path,
        labels=tuple(map(str, range(arguments["num_classes"]))) if shipped else None,
        preprocess=digits_preprocess(),
    )
