"""What a benchmark adapts: one source model, whole and split, handed to every method in its source state."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import nn

from moase_edge.adapt.sidecar import Sidecar, new_sidecar
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.base import Engine, Tensors
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import ConfigError
from moase_edge.models.build import Backbone
from moase_edge.models.split import sidecar_spec, sidecar_state, tensor_specs
from moase_edge.models.steer import cut

# At its start an adapter of this preset adds exactly nothing; the smallest costs least.
_IDENTITY = MoaseSettings(preset="edge", experts=2, rank=2)
_TAPS = ("mid", "out")


@dataclass(frozen=True, slots=True)
class Subject:
    """A source model and what methods may know of the source domain.

    Nothing that is handed out shares a weight with another method, and none closes the engine: whoever made the
    subject does.

    Attributes:
        backbone: the whole network; methods get copies.
        engine: of the split, the frozen compute of the last `adapt_blocks` blocks in its taps.
        moase, adapt: settings of the shipped method.
        adapt_blocks: k, how many of the last blocks the split adapts.
        tap_tokens: tokens in the engine's taps; None where they are those that `moase` needs. An engine that hands
            over all tokens of a block serves every preset.
        source_images: (n, 3, H, W) float32, preprocessed pictures of the source domain; None where there are none.

    Raises:
        ConfigError: a backbone without a head, or source images of another form.
    """

    backbone: Backbone
    engine: Engine
    moase: MoaseSettings = field(default_factory=MoaseSettings)
    adapt: AdaptSettings = ADAPT_PRESETS["edge"]
    adapt_blocks: int = 1
    tap_tokens: int | None = None
    source_images: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError(
                f"{self.backbone.name} has no head, so there is no error to measure. Name a number of classes."
            )
        if self.source_images is not None:
            _refuse_unfitting(self.source_images, self.backbone)

    @classmethod
    def in_torch(
        cls,
        backbone: Backbone,
        *,
        moase: MoaseSettings | None = None,
        adapt: AdaptSettings = ADAPT_PRESETS["edge"],
        adapt_blocks: int = 1,
        source_images: NDArray[np.float32] | None = None,
        steer: bool = False,
    ) -> Subject:
        """A subject whose engine is PyTorch and hands over all tokens, so that every method can be built.

        Args:
            steer: the engine takes a shift and returns token means.
        """
        spec = sidecar_spec(backbone.model, MoaseSettings(preset="paper"), adapt_blocks)
        _, outputs = tensor_specs(spec, backbone.preprocess.height, backbone.preprocess.width, steer=steer)
        engine = TorchEngine(
            cut(backbone.model, spec, steer=steer),
            tuple(output.name for output in outputs),
            blocks=(spec.depth, spec.channels) if steer else None,
        )
        return cls(
            backbone=backbone,
            engine=engine,
            moase=moase or MoaseSettings(),
            adapt=adapt,
            adapt_blocks=adapt_blocks,
            tap_tokens=spec.tap_tokens,
            source_images=source_images,
        )

    @property
    def classes(self) -> int:
        """K."""
        return int(self.backbone.model.num_classes)  # type: ignore[arg-type]

    def network(self) -> nn.Module:
        """A copy of the whole network at its source state, in evaluation mode, nothing trained."""
        return copy.deepcopy(self.backbone.model).eval().requires_grad_(False)

    def sidecar(self, moase: MoaseSettings, *, seed: int) -> Sidecar:
        """A sidecar of its own, at its source state."""
        spec = sidecar_spec(self.backbone.model, moase, self.adapt_blocks)
        return new_sidecar(spec, moase, sidecar_state(self.backbone.model, self.adapt_blocks), seed=seed)

    def frozen_sidecar(self) -> Sidecar:
        """A sidecar that adds nothing: it turns taps into the frozen model's logits and features."""
        return self.sidecar(_IDENTITY, seed=0)

    def engine_for(self, sidecar: Sidecar) -> Engine:
        """The engine, with taps of as many tokens as a sidecar reads; closing it leaves the subject's open.

        Raises:
            ConfigError: the engine hands over fewer.
        """
        wanted, preset = sidecar.spec.tap_tokens, sidecar.adapters[0].preset
        given = self.tap_tokens or sidecar_spec(self.backbone.model, self.moase, self.adapt_blocks).tap_tokens
        if given < wanted:
            raise ConfigError(
                f"the {preset} preset looks at {wanted} tokens of a block, and this engine hands over {given}. "
                "Split the backbone for that preset, or leave its method out."
            )
        return BorrowedEngine(self.engine, wanted)

    def source(self, method: str) -> NDArray[np.float32]:
        """The source images.

        Raises:
            ConfigError: there are none; names the method that needs them.
        """
        if self.source_images is None:
            raise ConfigError(
                f"{method} needs pictures of the source domain and was given none. Keep some aside, or leave "
                f"{method} out."
            )
        return self.source_images


class BorrowedEngine:
    """An engine that belongs to someone else.

    Args:
        engine: what runs.
        tap_tokens: how many tokens of each tap are passed on.
    """

    def __init__(self, engine: Engine, tap_tokens: int) -> None:
        self._engine = engine
        self._tap_tokens = tap_tokens
        self.name = engine.name

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        outputs = self._engine.run(images, shift)
        return {
            name: np.ascontiguousarray(value[:, : self._tap_tokens]) if name in _TAPS else value
            for name, value in outputs.items()
        }

    def close(self) -> None:
        """Nothing: its owner closes it."""


def _refuse_unfitting(images: NDArray[np.float32], backbone: Backbone) -> None:
    expected = (3, backbone.preprocess.height, backbone.preprocess.width)
    if images.ndim != 4 or not len(images) or images.shape[1:] != expected or images.dtype != np.float32:
        raise ConfigError(
            f"source images have shape {images.shape} and type {images.dtype}; expected (n, 3, {expected[1]}, "
            f"{expected[2]}) float32 with n of at least 1. Preprocess them as {backbone.name} is fed."
        )
    if not np.isfinite(images).all():
        raise ConfigError("source images hold values that are not finite. Leave the damaged pictures out.")
