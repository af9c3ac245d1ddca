"""The shipped method, and the published losses on the split: only the sidecar learns."""

from __future__ import annotations

from functools import partial

from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.features import source_moments
from moase_edge.bench.methods.full_network import PUBLISHED
from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.names import Preset
from moase_edge.engines.base import Engine
from moase_edge.moase.objectives import NEEDS_SOURCE, FeatureMoments
from moase_edge.runtime.split import SplitMethod


def build_edge(subject: Subject, seed: int) -> SplitMethod:
    """The shipped method with the subject's settings; `seed` takes the place of theirs."""
    return _build(subject, subject.moase, subject.adapt, seed)


def build_published(subject: Subject, seed: int, *, preset: Preset) -> SplitMethod:
    """A published preset, adapters in the last blocks alone."""
    return _build(subject, PUBLISHED[preset], ADAPT_PRESETS[preset], seed)


def _build(subject: Subject, moase: MoaseSettings, adapt: AdaptSettings, seed: int) -> SplitMethod:
    sidecar = subject.sidecar(moase, seed=seed)
    engine = subject.engine_for(sidecar)
    source = _source(subject, engine, sidecar, adapt)
    return SplitMethod(engine, Learner(sidecar, source=source, **{**adapt.model_dump(), "seed": seed}))


def _source(subject: Subject, engine: Engine, sidecar: Sidecar, adapt: AdaptSettings) -> FeatureMoments | None:
    """Moments of the source images at the sidecar's source state, where an objective needs them."""
    needing = NEEDS_SOURCE & adapt.objectives.keys()
    return source_moments(engine, sidecar, subject.source(min(needing))) if needing else None


build_official_split = partial(build_published, preset="official")
build_paper_split = partial(build_published, preset="paper")
