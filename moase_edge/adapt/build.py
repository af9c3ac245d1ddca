"""Build what adapts beside an engine from a sidecar, settings and what is known of the source."""

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
from moase_edge.artifact.source_statistics import FEWEST_TO_CORRECT, SourceStatistics
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.track import TrackSettings

_Answering: TypeAlias = Learner | PublishedLearner | HeldSidecar

_BANK = {"most_domains", "near", "spread", "decide", "half_life", "caution"}


def build_adaptation(
    sidecar: Sidecar,
    settings: AdaptSettings,
    statistics: SourceStatistics | None,
    *,
    on_shift: bool = False,
    device: torch.device | None = None,
) -> Adaptation:
    """Sidecar or learner, tracker and watch, at their source state.

    Args:
        sidecar: at its source state; taken over.
        statistics: of the source; without them nothing is tracked.
        on_shift: weights learn only while the domain is new.
        device: where the sidecar shall live; by default the CPU.

    Raises:
        ConfigError: settings that need source statistics where there are none, or leave nothing to train.
    """
    device = device or torch.device("cpu")
    sidecar.to(device)
    learner: _Answering = HeldSidecar(sidecar)
    if settings.objectives:
        learner = _learner(Learner(sidecar, source=moments_of(statistics, device), **settings.learner()), device)
    return Adaptation(
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


def _learner(learner: Learner, device: torch.device) -> Learner | PublishedLearner:
    return PublishedLearner(learner, CudaLane(device)) if device.type == "cuda" else learner


def _tracker(
    answering: _Answering, settings: TrackSettings, statistics: SourceStatistics | None
) -> Tracker | None:
    """None where there is nothing to track by, or no classes whose answer could be corrected and watched."""
    spec = answering.teacher.spec
    if statistics is None or statistics.count < FEWEST_TO_CORRECT or not settings.corrects or spec.classes < 2:
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
