"""Build the split method from a sidecar, its settings and what is known of the source."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.adaptation import Adaptation
from moase_edge.adapt.domains import DomainBank
from moase_edge.adapt.drift import DriftDetector
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.held import HeldSidecar
from moase_edge.adapt.lane import CudaLane
from moase_edge.adapt.learner import Learner
from moase_edge.adapt.published import PublishedLearner
from moase_edge.adapt.referee import Referee
from moase_edge.adapt.sidecar import Sidecar
from moase_edge.adapt.source_moments import moments_of
from moase_edge.adapt.steering import Pooled
from moase_edge.adapt.tracker import Tracker, steered_block
from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.track import TrackSettings
from moase_edge.engines.base import Engine, device_of
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.streams import answering_stream

_Answering: TypeAlias = Learner | PublishedLearner | HeldSidecar

_BANK = {"most_domains", "near", "spread", "decide", "half_life", "caution"}


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
    sidecar.to(device)
    learner: _Answering = HeldSidecar(sidecar)
    if settings.objectives:
        learner = _learner(Learner(sidecar, source=moments_of(statistics, device), **settings.learner()), device)
    adaptation = Adaptation(
        learner,
        tracker=_tracker(learner, settings.track, statistics),
        guard=Guard(**settings.guard.model_dump()),
        referee=Referee(**settings.referee.model_dump()),
        on_shift=on_shift,
        has_classes=sidecar.spec.classes > 1,
        device=device,
        drift=DriftDetector(
            None if statistics is None else statistics.features.std, **settings.drift.model_dump()
        ),
    )
    return SplitMethod(engine, adaptation, answering=answering_stream(device))


def _home(engine: Engine, settings: AdaptSettings) -> torch.device:
    """Where the sidecar lives: with the engine, but on the CPU for the view that augments frames there."""
    augments = settings.objectives and settings.view == "augmented-frame"
    return torch.device("cpu" if augments else device_of(engine))


def _learner(learner: Learner, device: torch.device) -> Learner | PublishedLearner:
    return PublishedLearner(learner, CudaLane(device)) if device.type == "cuda" else learner


def _tracker(
    answering: _Answering, settings: TrackSettings, statistics: SourceStatistics | None
) -> Tracker | None:
    """None where there is nothing to track by, or a network without a head has no answer to correct."""
    spec = answering.teacher.spec
    if statistics is None or not settings.corrects or not spec.classes:
        return None
    means, features = statistics.token_means, statistics.features
    blocks = None if means is None else (spec.depth, spec.channels)
    key_mean, key_std, block = features.mean, features.std, None
    if means is not None:
        block = steered_block(spec.depth, settings.depth, spec.adapt_blocks)
        key_mean, key_std = means.mean[block], means.std[block]
    bank = DomainBank(
        key_mean,
        key_std,
        features.mean,
        features.std,
        source_frames=statistics.count,
        recognise_by_key=means is not None,
        **settings.model_dump(include=_BANK),
    )
    return Tracker(
        bank,
        partial(_logits, answering),
        blocks=blocks,
        block=block,
        **settings.model_dump(exclude={*_BANK, "depth"}),
    )


@torch.no_grad()
def _logits(answering: _Answering, pooled: Pooled) -> NDArray[np.float32]:
    """The head, as it is now: (n, H, C) -> (n, K)."""
    teacher = answering.teacher
    inputs = torch.from_numpy(pooled.astype(np.float32)).to(next(teacher.parameters()).device)
    return teacher.classify(inputs).logits.cpu().numpy()
