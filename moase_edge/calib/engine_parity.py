"""Parity of an engine in another precision: against the fp32 engine, on the same frames."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.artifact.manifest import EngineParity
from moase_edge.calib.adapter_gradients import deviation, logits_and_gradients, perturb
from moase_edge.calib.pictures import Pictures
from moase_edge.config.precision import ParityThresholds
from moase_edge.engines.base import Engine, Tensors
from moase_edge.engines.deviation import (
    TAPS,
    Deviation,
    agreement_of,
    deviation_of,
    failures_of,
    median_error,
)


@dataclass(frozen=True, slots=True, eq=False)
class FrameRun:
    """What one engine makes of one frame.

    Attributes:
        outputs: of the engine.
        gradients: of a cross-entropy in all adapter weights, one after another; None where a tap is not finite.
    """

    outputs: Tensors
    gradients: Tensor | None


@dataclass(frozen=True, slots=True)
class EngineComparison:
    """Deviations of an engine from the fp32 one by frame, and what they must hold.

    Attributes:
        outputs: of taps and answers.
        gradients: relative errors of the gradients in the adapters' weights.
        thresholds: of the engine's precision.
    """

    outputs: tuple[Deviation, ...]
    gradients: tuple[float, ...]
    thresholds: ParityThresholds

    @property
    def failures(self) -> list[str]:
        """What does not hold, each with its figure and its threshold."""
        failures, found = failures_of(self.outputs, self.thresholds), float(np.median(self.gradients))
        if not found <= self.thresholds.gradients:
            failures.append(
                f"the adapters' gradients: relative error {found:.2g}, at most {self.thresholds.gradients:g}"
            )
        return failures

    def figures(self, measured_on: str) -> EngineParity:
        """As the manifest keeps them.

        Args:
            measured_on: what ran the engine.
        """
        return EngineParity(
            passed=not self.failures,
            measured_on=measured_on,
            cosine=min(each.cosine for each in self.outputs),
            relative_error=median_error(self.outputs),
            gradients=float(np.median(self.gradients)),
            top1_agreement=agreement_of(self.outputs),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for parity.json: every figure by frame, and the thresholds."""
        return {
            "passed": not self.failures,
            "failures": self.failures,
            "thresholds": self.thresholds.model_dump(),
            "cosine": [each.cosine for each in self.outputs],
            "relative_error": [_plain(each.relative_error) for each in self.outputs],
            "gradients": [_plain(value) for value in self.gradients],
            "agrees": [each.agrees for each in self.outputs],
        }


def run_frames(engine: Engine, sidecar: Sidecar, frames: Sequence[NDArray[np.float32]]) -> list[FrameRun]:
    """Run every frame through the engine, and a gradient of the sidecar behind it.

    Args:
        sidecar: away from its start, where a gradient reaches the up projections alone; left unchanged.
        frames: (1, 3, H, W) each.
    """
    trained = copy.deepcopy(sidecar)
    return [FrameRun(outputs, _gradients(trained, outputs)) for outputs in map(engine.run, frames)]


def compare_runs(
    found: Sequence[FrameRun], reference: Sequence[FrameRun], thresholds: ParityThresholds, *, head: bool
) -> EngineComparison:
    """Compare two engines' runs of the same frames; `head`: whether the model answers with classes."""
    pairs = list(zip(found, reference, strict=True))
    return EngineComparison(
        tuple(deviation_of(one.outputs, other.outputs, head=head) for one, other in pairs),
        tuple(_gradient_error(one.gradients, other.gradients) for one, other in pairs),
        thresholds,
    )


class Reference:
    """What the fp32 engine makes of the frames that every candidate is compared on.

    Args:
        engine: in fp32.
        sidecar: away from its start (see `run_frames`).
        pictures: what is compared on.
    """

    def __init__(self, engine: Engine, sidecar: Sidecar, pictures: Pictures) -> None:
        self.frames, self.title = pictures.frames, pictures.title
        self._sidecar = sidecar
        self._runs: list[FrameRun] = run_frames(engine, sidecar, self.frames)

    def compare(self, engine: Engine, thresholds: ParityThresholds) -> EngineComparison:
        """Run the frames through another engine and compare."""
        found = run_frames(engine, self._sidecar, self.frames)
        return compare_runs(found, self._runs, thresholds, head=self.head)

    @property
    def head(self) -> bool:
        """Whether the model answers with classes."""
        return self._sidecar.spec.classes > 0


def moved(sidecar: Sidecar, seed: int) -> Sidecar:
    """A copy away from its start, where a gradient reaches one projection of each expert alone."""
    away = copy.deepcopy(sidecar)
    perturb(away, torch.Generator().manual_seed(seed))
    return away


def _gradients(sidecar: Sidecar, outputs: Tensors) -> Tensor | None:
    if not all(np.isfinite(outputs[name]).all() for name in TAPS):
        return None
    taps = Taps(**{name: torch.from_numpy(outputs[name]) for name in TAPS})
    _, gradients = logits_and_gradients(sidecar, lambda: sidecar(taps).logits)
    return torch.cat([gradient.flatten() for gradient in gradients])


def _gradient_error(found: Tensor | None, expected: Tensor | None) -> float:
    return math.inf if found is None or expected is None else deviation(found, expected)


def _plain(value: float) -> float | None:
    """JSON has no number that is not finite."""
    return value if math.isfinite(value) else None
