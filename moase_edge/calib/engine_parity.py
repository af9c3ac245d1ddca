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
    median_logits,
    median_token_means,
)
from moase_edge.engines.shift import seeded_shifts

# Said of what fails under a shift.
STEERED = "steered"


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
        steered: of the same but answers, under a seeded shift; empty of engines that cannot be steered.
        gradients: relative errors of the gradients in the adapters' weights.
        thresholds: of the engine's precision.
    """

    outputs: tuple[Deviation, ...]
    steered: tuple[Deviation, ...]
    gradients: tuple[float, ...]
    thresholds: ParityThresholds

    @property
    def failures(self) -> list[str]:
        """What does not hold, each with its figure and its threshold."""
        failures, found = failures_of(self.outputs, self.thresholds), float(np.median(self.gradients))
        if self.steered:
            failures += failures_of(self.steered, self.thresholds, under=STEERED)
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
            logits=median_logits(self.outputs),
            token_means=median_token_means(self.outputs),
            steered=median_error(self.steered) if self.steered else None,
            gradients=float(np.median(self.gradients)),
            top1_agreement=agreement_of(self.outputs),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for parity.json: every figure by frame, and the thresholds."""
        return {
            "passed": not self.failures,
            "failures": self.failures,
            "thresholds": self.thresholds.model_dump(),
            **_by_frame(self.outputs),
            "gradients": [_plain(value) for value in self.gradients],
            "steered": _by_frame(self.steered) if self.steered else None,
        }


def run_frames(engine: Engine, sidecar: Sidecar, frames: Sequence[NDArray[np.float32]]) -> list[FrameRun]:
    """Run every frame through the engine, and a gradient of the sidecar behind it.

    Args:
        sidecar: away from its start, where a gradient reaches the up projections alone; left unchanged.
        frames: (1, 3, H, W) each.
    """
    trained = copy.deepcopy(sidecar)
    return [FrameRun(outputs, _gradients(trained, outputs)) for outputs in map(engine.run, frames)]


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
        self._shifts = seeded_shifts([run.outputs for run in self._runs])
        self._steered = self._steered_by(engine)

    def compare(self, engine: Engine, thresholds: ParityThresholds) -> EngineComparison:
        """Run the frames through another engine and compare."""
        runs = list(zip(run_frames(engine, self._sidecar, self.frames), self._runs, strict=True))
        steered = zip(self._steered_by(engine), self._steered, strict=True)
        return EngineComparison(
            tuple(deviation_of(one.outputs, other.outputs, head=self.head) for one, other in runs),
            tuple(deviation_of(*pair, head=False) for pair in steered),
            tuple(_gradient_error(one.gradients, other.gradients) for one, other in runs),
            thresholds,
        )

    @property
    def head(self) -> bool:
        """Whether the model answers with classes."""
        return self._sidecar.spec.classes > 0

    def _steered_by(self, engine: Engine) -> list[Tensors]:
        """What an engine makes of the frames under their shifts; nothing of one that cannot be steered."""
        return [engine.run(*pair) for pair in zip(self.frames, self._shifts, strict=False)]


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


def _by_frame(deviations: Sequence[Deviation]) -> dict[str, Any]:
    return {
        "cosine": [each.cosine for each in deviations],
        "relative_error": [_plain(each.relative_error) for each in deviations],
        "logits": [_plain(each.logits) for each in deviations],
        "token_means": [_plain(each.token_means) for each in deviations],
        "agrees": [each.agrees for each in deviations],
    }


def _plain(value: float | None) -> float | None:
    """JSON has no number that is not finite."""
    return None if value is None or not math.isfinite(value) else value
