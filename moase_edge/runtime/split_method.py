"""Build the split method from a sidecar, its settings and what is known of the source."""

from __future__ import annotations

import torch

from moase_edge.adapt.build import build_adaptation
from moase_edge.adapt.sidecar import Sidecar
from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.config.adapt import AdaptSettings
from moase_edge.engines.base import Engine, device_of
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.streams import answering_stream


def build_split_method(
    engine: Engine,
    sidecar: Sidecar,
    settings: AdaptSettings,
    statistics: SourceStatistics | None,
    *,
    on_shift: bool = False,
) -> SplitMethod:
    """Engine, sidecar or learner, tracker and watch; the sidecar lives on the engine's device.

    On a GPU updates run beside the answers; on the CPU one after the other, so that a run repeats bit for bit.

    Args:
        engine: fits the sidecar's taps.
        sidecar: at its source state; taken over.
        statistics: of the source; without them nothing is tracked.
        on_shift: weights learn only while the domain is new.

    Raises:
        ConfigError: settings that need source statistics where there are none, or leave nothing to train.
    """
    device = _home(engine, settings)
    adaptation = build_adaptation(sidecar, settings, statistics, on_shift=on_shift, device=device)
    return SplitMethod(engine, adaptation, answering=answering_stream(device))


def _home(engine: Engine, settings: AdaptSettings) -> torch.device:
    """Where the sidecar lives: with the engine, but on the CPU for the view that augments frames there."""
    augments = settings.objectives and settings.view == "augmented-frame"
    return torch.device("cpu" if augments else device_of(engine))
