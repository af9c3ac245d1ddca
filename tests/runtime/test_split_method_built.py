"""What is built from which settings and statistics, and that it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.tracker import Tracker
from moase_edge.artifact.source_statistics import Moments, SourceStatistics
from moase_edge.artifact.specs import TOKEN_MEANS
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.base import load_settings
from moase_edge.config.track import TrackSettings
from moase_edge.errors import ConfigError, EngineError
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.split_method import build_split_method
from moase_edge.runtime.stages import Stages
from tests.adapt.backbones import CHANNELS, DEPTH, draw, sidecar_of, small_vit


def moments(*shape: int) -> Moments:
    return Moments(np.zeros(shape), np.ones(shape))


FEATURES = moments(CHANNELS)
STATISTICS = SourceStatistics(mid=FEATURES, out=FEATURES, features=FEATURES, count=100)
STEERABLE = replace(STATISTICS, token_means=moments(DEPTH, CHANNELS))


class Engine:
    """Reads taps, logits and token means off the frames' first values; refuses a shift where it takes none."""

    def __init__(self, sidecar: Sidecar, *, steerable: bool) -> None:
        self.name = "made"
        self.shifts: list[NDArray[np.float32] | None] = []
        self._sidecar, self._steerable = sidecar, steerable

    @torch.no_grad()
    def run(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        if shift is not None and not self._steerable:
            raise EngineError("this engine takes no shift")
        self.shifts.append(shift)
        batch, tokens = len(images), self._sidecar.spec.tap_tokens
        content = torch.cat([draw(1, tokens, CHANNELS, seed=int(image[0, 0, 0])) for image in images])
        taps = Taps(content, content + (0 if shift is None else torch.from_numpy(shift.sum(axis=1))[:, None]))
        outputs = {"mid": taps.mid, "out": taps.out, "logits": self._sidecar(taps).logits}
        made = {name: value.numpy().copy() for name, value in outputs.items()}
        means = np.full((batch, DEPTH, CHANNELS), images[:, 1, 0, 0][:, None, None], dtype=np.float32)
        return {**made, TOKEN_MEANS: means} if self._steerable else made

    def close(self) -> None:
        pass


def frame(content: int, level: float = 0.0) -> NDArray[np.float32]:
    """A frame of this content, with token means of this level."""
    image = np.zeros((1, 3, 2, 2), dtype=np.float32)
    image[0, 0], image[0, 1] = content, level
    return image


def built(
    values: dict[str, Any] | AdaptSettings | None = None,
    statistics: SourceStatistics | None = STATISTICS,
    *,
    blocks: int = 1,
    on_shift: bool = False,
    **vit: Any,
) -> tuple[SplitMethod, Engine]:
    settings = values if isinstance(values, AdaptSettings) else load_settings(AdaptSettings, values or {})
    model = small_vit(**vit)
    engine = Engine(
        sidecar_of(model, blocks), steerable=statistics is not None and statistics.token_means is not None
    )
    return build_split_method(engine, sidecar_of(model, blocks), settings, statistics, on_shift=on_shift), engine


def tracker_of(method: SplitMethod) -> Tracker | None:
    return method._adaptation.tracker


def learner_of(method: SplitMethod) -> Learner | None:
    return method._adaptation._learner


def follow(method: SplitMethod, frames: int, level: float = 0.0, first: int = 0) -> list[dict[str, float]]:
    updates = []
    for content in range(first, first + frames):
        update = method.learn(method.predict(frame(content, level), Stages()))
        updates.append(dict(update or {}))
    assert method.failures == {}
    return updates


def test_the_default_tracks_and_trains_no_weight() -> None:
    method, _ = built()
    assert tracker_of(method) is not None
    assert learner_of(method) is None


def test_objectives_bring_a_learner_with_the_source_s_moments() -> None:
    method, _ = built({"objectives": {"alignment": 1.0}, "lr": 0.01, "track": {"steer": False}})
    learner = learner_of(method)
    assert learner is not None
    assert "loss" in follow(method, 1)[0]
    assert learner.updates == 1


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_published_presets_learn_and_track_nothing(preset: Any) -> None:
    method, _ = built(ADAPT_PRESETS[preset], STEERABLE)
    assert tracker_of(method) is None
    assert learner_of(method) is not None
    assert "loss" in follow(method, 1)[0]


def test_without_statistics_nothing_is_tracked_and_the_frozen_answer_is_given() -> None:
    method, engine = built({}, None)
    assert tracker_of(method) is None
    assert learner_of(method) is None
    for content in range(3):
        prediction = method.predict(frame(content), Stages())
        assert prediction.logits.tobytes() == engine.run(frame(content))["logits"].tobytes()
        assert prediction.adapted.tolist() == [False]
        assert method.learn(prediction) is None


def test_what_needs_statistics_is_refused_without_them() -> None:
    with pytest.raises(ConfigError, match=r"alignment needs.*export --source-data.*calibrate --source"):
        built({"objectives": {"alignment": 1.0}}, None)


def test_nothing_to_correct_means_no_tracker() -> None:
    off = dict.fromkeys(("recentre", "remember", "steer"), False)
    assert tracker_of(built({"track": off}, STEERABLE)[0]) is None


def test_a_network_without_a_head_has_no_answer_to_correct() -> None:
    method, _ = built({}, STEERABLE, num_classes=0)
    assert tracker_of(method) is None
    assert follow(method, 2) == [{}, {}]
    assert not method.predict(frame(0), Stages()).adapted.any()
    learning, _ = built({"objectives": {"consistency": 1.0}}, STEERABLE, num_classes=0)
    assert learning.predict(frame(0), Stages()).adapted.all()


def test_domains_are_told_by_the_token_means_of_the_steered_block() -> None:
    levels = np.arange(DEPTH, dtype=float)[:, None]
    means = Moments(np.broadcast_to(levels, (DEPTH, CHANNELS)).copy(), np.full((DEPTH, CHANNELS), 2.0))
    method, _ = built({"track": {"depth": 0.4}}, replace(STATISTICS, token_means=means))
    tracker = tracker_of(method)
    assert tracker is not None
    assert tracker.block == 1
    keys, _ = tracker.recognise(np.full((1, CHANNELS), 5.0))
    assert keys.tolist() == [[2.0] * CHANNELS]


def test_without_token_means_domains_are_told_by_features_and_nothing_is_steered() -> None:
    features = Moments(np.full(CHANNELS, 3.0), np.full(CHANNELS, 0.5))
    method, engine = built({}, replace(STATISTICS, features=features))
    tracker = tracker_of(method)
    assert tracker is not None
    assert tracker.block is None
    keys, _ = tracker.recognise(np.full((1, CHANNELS), 4.0))
    assert keys.tolist() == [[2.0] * CHANNELS]
    follow(method, 12)
    assert engine.shifts == [None] * 12
    assert method.counts()["domains_found"] == 1


@pytest.mark.parametrize(("blocks", "block"), [(1, 2), (2, 1), (3, 0)])
def test_the_steered_block_lies_inside_the_engine(blocks: int, block: int) -> None:
    method, engine = built({"track": {"depth": 0.9, "remember": False}}, STEERABLE, blocks=blocks)
    tracker = tracker_of(method)
    assert tracker is not None
    assert tracker.block == block
    follow(method, 12, level=4.0)
    shifts = [shift for shift in engine.shifts if shift is not None]
    assert shifts
    for shift in shifts:
        assert shift.shape == (1, DEPTH, CHANNELS)
        assert np.flatnonzero(shift.any(axis=(0, 2))).tolist() == [block]


def test_settings_of_the_tracker_reach_it() -> None:
    method, engine = built({"track": {"strength": 0.5, "caution": 0.0, "decide": 1, "depth": 0.4}}, STEERABLE)
    follow(method, 2, level=4.0)
    assert method.counts()["domains_found"] == 1
    shifts = [shift for shift in engine.shifts if shift is not None]
    assert shifts[0][0, 1] == pytest.approx(np.full(CHANNELS, -0.5 * 4))


def test_settings_of_the_watch_reach_it() -> None:
    learning = {"objectives": {"entropy": 1.0}, "lr": 0.1, "proximal": "none"}
    values = {**learning, "guard": {"max_distance": 1e-6}, "referee": {"hold_off": 3, "max_hold_off": 3}}
    method, _ = built(values, None)
    follow(method, 2)
    assert method.counts()["alarm: weights left the source"] >= 1
    assert method.rollbacks >= 1


def test_on_shift_leaves_weights_alone_in_the_domain_they_know() -> None:
    values = {"objectives": {"entropy": 1.0}, "track": {"steer": False}}
    for on_shift, expected in ((False, 4), (True, 0)):
        method, _ = built(values, STEERABLE, on_shift=on_shift)
        follow(method, 4)
        learner = learner_of(method)
        assert learner is not None
        assert learner.updates == expected
    follow(method, 4, level=4.0, first=10)
    assert learner.updates > 0


def test_settings_that_the_tracker_s_owners_know_are_all_passed_on() -> None:
    # With every value away from its default, nothing is refused as unknown or given twice.
    other = {"same_content": 0.4, "most_domains": 3, "near": 0.4, "spread": 1.0, "decide": 2, "half_life": 20.0}
    other |= {"caution": 0.5, "depth": 0.5, "strength": 0.6, "gain": 0.1, "trials": 3, "try_every": 9}
    assert other.keys() | {"recentre", "remember", "steer"} == TrackSettings.model_fields.keys()
    method, _ = built({"track": other}, STEERABLE)
    follow(method, 12, level=4.0)


def test_frames_of_the_source_are_answered_as_frozen_bit_for_bit() -> None:
    for statistics in (STATISTICS, STEERABLE):
        method, engine = built({"track": {"remember": False}}, statistics)
        prediction = method.predict(frame(1), Stages())
        assert prediction.logits.tobytes() == engine.run(frame(1))["logits"].tobytes()
        assert prediction.adapted.tolist() == [True]
