"""Parity: engine and sidecar against MoASE inside the blocks of the whole network in PyTorch."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.artifact.manifest import ParityFigures
from moase_edge.artifact.specs import TOKEN_MEANS, SidecarSpec
from moase_edge.calib.adapter_gradients import deviation, logits_and_gradients, perturb
from moase_edge.engines.base import Engine, Tensors
from moase_edge.engines.shift import shift_like
from moase_edge.moase.adapter import MoaseAdapter
from moase_edge.moase.inject import inject

TOLERANCE = 1e-4
IMAGES = 4


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Relative deviations, each a maximum over tensors and a median and maximum over images.

    A threshold (SDD) makes the adapter's output jump where two activations are equal to the last bits. Such a tie
    in one image says nothing about the split, so the gate takes the median image; the worst is reported too.

    Attributes:
        deviations: per quantity, one relative deviation an image.
        tolerance: what the median of each must not pass.
    """

    deviations: dict[str, list[float]] = field(default_factory=dict)
    tolerance: float = TOLERANCE

    def median(self, quantity: str) -> float:
        """Median over images."""
        return float(np.median(self.deviations[quantity]))

    @property
    def failures(self) -> list[str]:
        """Quantities that do not hold the tolerance; one image that is not finite is enough to fail."""
        return [
            quantity
            for quantity, values in self.deviations.items()
            if not (np.isfinite(values).all() and self.median(quantity) <= self.tolerance)
        ]

    def figures(self) -> ParityFigures:
        """The worst medians by kind, as the manifest keeps them."""
        worst = {
            kind: max(self.median(name) for name in self.deviations if name.startswith(kind))
            for kind in ("taps", "logits", "gradients")
        }
        return ParityFigures(passed=not self.failures, tolerance=self.tolerance, **worst)

    def as_json(self) -> dict[str, Any]:
        """Plain data for parity.json."""
        quantities = {
            name: {"median": self.median(name), "max": max(values), "images": values}
            for name, values in self.deviations.items()
        }
        return {"tolerance": self.tolerance, "passed": not self.failures, "deviations": quantities}


def check_parity(
    model: nn.Module, engine: Engine, sidecar: Sidecar, *, size: tuple[int, int], seed: int
) -> ParityReport:
    """Compare taps, logits and adapter gradients on seeded images.

    The reference is the unmodified model for taps and frozen logits, and the model with in-block MoASE for adapted
    logits and gradients, at the adapters' start and at a seeded state away from it. An engine that can be steered
    is compared again with a seeded shift that the model's own blocks are given by hooks.

    Args:
        model: the backbone the engine was made from.
        engine: the exported one.
        sidecar: at its source state; left unchanged.
        size: height and width of the engine's input.
    """
    generator = torch.Generator().manual_seed(seed)
    perturbed = copy.deepcopy(sidecar)
    perturb(perturbed, generator)
    deviations: dict[str, list[float]] = {}
    for _ in range(IMAGES):
        image = torch.randn(1, 3, *size, generator=generator)
        outputs = engine.run(image.numpy())
        found = compare_frozen(model, image, outputs, sidecar.spec)
        for name, state in (("start", sidecar), ("perturbed", perturbed)):
            found.update(compare_adapted(model, image, outputs, state, name))
        if TOKEN_MEANS in outputs:
            found.update(compare_steered(model, image, engine, draw_shift(outputs, generator), sidecar.spec))
        for quantity, value in found.items():
            deviations.setdefault(quantity, []).append(value)
    return ParityReport(deviations)


def compare_frozen(model: nn.Module, image: Tensor, outputs: Tensors, spec: SidecarSpec) -> dict[str, float]:
    """Taps and frozen logits against the unmodified model, tapped by hooks."""
    block = cast(Any, model).blocks[spec.depth - spec.adapt_blocks]
    seen: dict[str, Tensor] = {}
    hooks = [
        block.norm2.register_forward_pre_hook(lambda _module, inputs: seen.update(mid=inputs[0])),
        block.register_forward_hook(lambda _module, _inputs, output: seen.update(out=output)),
    ]
    try:
        with torch.no_grad():
            logits = model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        "taps.mid": deviation(outputs["mid"], seen["mid"][:, : spec.tap_tokens]),
        "taps.out": deviation(outputs["out"], seen["out"][:, : spec.tap_tokens]),
        "logits.frozen": deviation(outputs["logits"], logits),
    }


def draw_shift(outputs: Tensors, generator: torch.Generator) -> Tensor:
    """A shift (B, L, C) that no block can overlook, from the size of its own token means."""
    noise = torch.randn(outputs[TOKEN_MEANS].shape, generator=generator)
    return torch.from_numpy(shift_like(outputs[TOKEN_MEANS], noise.numpy()))


def compare_steered(
    model: nn.Module, image: Tensor, engine: Engine, shift: Tensor, spec: SidecarSpec
) -> dict[str, float]:
    """Taps, frozen logits and token means under a shift, against the model whose blocks hooks give the same.

    Args:
        shift: (1, L, C).
    """
    outputs = engine.run(image.numpy(), shift.numpy())
    means: list[Tensor] = []

    def move(index: int, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Note the token means that enter a block, and shift its patch tokens."""
        moved = inputs[0].clone()
        means.append(moved[:, spec.prefix_tokens :].mean(dim=1))
        moved[:, spec.prefix_tokens :] += shift[:, index, None]
        return (moved,)

    hooks = [
        block.register_forward_pre_hook(lambda _module, inputs, index=index: move(index, inputs))
        for index, block in enumerate(cast(Any, model).blocks)
    ]
    try:
        found = compare_frozen(model, image, outputs, spec)
    finally:
        for hook in hooks:
            hook.remove()
    steered = {"taps.mid": "taps.mid.steered", "taps.out": "taps.out.steered", "logits.frozen": "logits.steered"}
    return {
        **{steered[name]: value for name, value in found.items()},
        "taps.token_means": deviation(outputs[TOKEN_MEANS], torch.stack(means, dim=1)),
    }


def compare_adapted(
    model: nn.Module, image: Tensor, outputs: Tensors, sidecar: Sidecar, state: str
) -> dict[str, float]:
    """Adapted logits and the gradient of every adapter weight against in-block MoASE with the same weights.

    The loss is a cross-entropy against one fixed pseudo-label, so its gradient is not zero at the adapters' start.
    """
    split = copy.deepcopy(sidecar)
    shared = {id(weight): weight for weight in chain(model.parameters(), model.buffers())}
    adapters = cast("list[MoaseAdapter]", list(copy.deepcopy(split.adapters)))
    # The reference shares the frozen weights: copying them for every image and state takes most of the time.
    reference = inject(copy.deepcopy(model, memo=dict(shared)), adapters)
    taps = Taps(mid=torch.from_numpy(outputs["mid"]), out=torch.from_numpy(outputs["out"]))
    split_logits, split_gradients = logits_and_gradients(split, lambda: split(taps).logits)
    logits, gradients = logits_and_gradients(reference, lambda: reference(image))
    return {
        f"logits.{state}": deviation(split_logits, logits),
        f"gradients.{state}": max(map(deviation, split_gradients, gradients)),
    }
