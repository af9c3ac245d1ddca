"""The shipped method and parts of it, and the published losses on the split: only the sidecar learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.bench.methods.full_network import PUBLISHED
from moase_edge.bench.subject import Subject
from moase_edge.calib.source_statistics import source_statistics_of
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.names import Preset
from moase_edge.engines.base import Engine
from moase_edge.moase.objectives import NEEDS_SOURCE
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.split_method import build_split_method


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the shipped method.

    Attributes:
        title: in words.
        track: settings of the tracker that differ.
        learn: settings of the learner that differ.
    """

    title: str
    track: Mapping[str, Any] = field(default_factory=dict)
    learn: Mapping[str, Any] = field(default_factory=dict)


_OFF = {"recentre": False, "remember": False, "steer": False}
# With a batch of one, statistics need others beside it; source averaging bounds what a long stream does.
LEARNING: Mapping[str, Any] = {
    "objectives": {"alignment": 1.0},
    "lr": 1e-3,
    "batch_from_reservoir": 16,
    "source_averaging": 0.01,
}
PARTS: Mapping[str, Part] = {
    "edge-recentre": Part("features re-centred by domain", {**_OFF, "recentre": True}),
    "edge-steer": Part("re-centred and steered", {**_OFF, "recentre": True, "steer": True}),
    "edge-remember": Part("averaged over one content", {**_OFF, "remember": True}),
    "edge-learn": Part("MoASE learns by alignment, nothing else", _OFF, LEARNING),
    "edge-both": Part("re-centred, and MoASE learns", {**_OFF, "recentre": True}, LEARNING),
    "edge-all": Part("what ships, and MoASE learns beside it", {}, LEARNING),
}


def build_edge(subject: Subject, seed: int) -> SplitMethod:
    """The shipped method with the subject's settings; `seed` takes the place of theirs."""
    return build_on_split(subject, seed, moase=subject.moase, adapt=subject.adapt)


def build_part(subject: Subject, seed: int, *, name: str) -> SplitMethod:
    """Some of the shipped method, by a name of PARTS."""
    return build_on_split(subject, seed, moase=subject.moase, adapt=part_settings(name))


def part_settings(name: str) -> AdaptSettings:
    """The shipped settings, changed to those of a part."""
    shipped, part = ADAPT_PRESETS["edge"].model_dump(), PARTS[name]
    return AdaptSettings(**{**shipped, **part.learn, "track": {**shipped["track"], **part.track}})


def build_published(subject: Subject, seed: int, *, preset: Preset) -> SplitMethod:
    """A published preset, adapters in the last blocks alone."""
    return build_on_split(subject, seed, moase=PUBLISHED[preset], adapt=ADAPT_PRESETS[preset])


def build_on_split(subject: Subject, seed: int, *, moase: MoaseSettings, adapt: AdaptSettings) -> SplitMethod:
    """The split with these settings; `seed` takes the place of theirs."""
    sidecar = subject.sidecar(moase, seed=seed)
    engine = subject.engine_for(sidecar)
    statistics = _statistics(subject, engine, sidecar, adapt)
    return build_split_method(engine, sidecar, adapt.model_copy(update={"seed": seed}), statistics)


def _statistics(
    subject: Subject, engine: Engine, sidecar: Sidecar, adapt: AdaptSettings
) -> SourceStatistics | None:
    """Of the source images at the sidecar's source state, where something makes use of them."""
    needing = NEEDS_SOURCE & adapt.objectives.keys()
    if needing:
        subject.source(min(needing))
    if subject.source_images is None or not (needing or adapt.track.corrects):
        return None
    images = subject.source_images
    return source_statistics_of(
        engine, sidecar, ((images[i : i + 1], f"source image {i}") for i in range(len(images)))
    )


build_official_split = partial(build_published, preset="official")
build_paper_split = partial(build_published, preset="paper")
