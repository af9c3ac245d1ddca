from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from moase_edge.adapt.learner import Learner
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.base import load_settings
from moase_edge.errors import ConfigError

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"lr": 0}, "lr"),
        ({"lr": NAN}, "lr"),
        ({"alpha": 1}, "alpha"),
        ({"alpha": NAN}, "alpha"),
        ({"betas": (0.9, 1.0)}, "betas.1"),
        ({"betas": (-0.1, 0.9)}, "betas.0"),
        ({"betas": (NAN, 0.9)}, "betas.0"),
        ({"betas": (0.9,)}, "betas"),
        ({"max_grad_norm": 0}, "max_grad_norm"),
        ({"objectives": {"consistency": -1}}, "objectives.consistency"),
        ({"objectives": {"consistency": INFINITY}}, "objectives.consistency"),
        ({"objectives": {"entropie": 1}}, "objectives.entropie"),
        ({"train": ()}, "train"),
        ({"train": ("adapter", "adapter")}, "train"),
        ({"train": ("backbone",)}, "train.0"),
        ({"view": "rotate"}, "view"),
        ({"view_strength": 1}, "view_strength"),
        ({"augment_policy": "random"}, "augment_policy"),
        ({"augment_policy": "learned"}, "augment_policy learned belongs to the view augmented-frame"),
        ({"proximal": "cubed"}, "proximal"),
        ({"proximal_anchor": "student"}, "proximal_anchor"),
        ({"proximal_weight": INFINITY}, "proximal_weight"),
        ({"restore_probability": 1.1}, "restore_probability"),
        ({"source_averaging": 1}, "source_averaging"),
        ({"source_averaging": NAN}, "source_averaging"),
        ({"batch_from_reservoir": -1}, "batch_from_reservoir"),
        ({"batch_from_reservoir": 257}, "batch_from_reservoir"),
        ({"reservoir_capacity": 0}, "reservoir_capacity"),
        ({"reservoir_capacity": 4097}, "reservoir_capacity"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"learning_rate": 1e-4}, "learning_rate"),
        ({"track": {"decide": 0}}, "track.decide"),
        ({"guard": {"window": 16}}, "guard: warm_up and min_confident must not be above window"),
        ({"referee": {"proven": 0}}, "referee.proven"),
        ({"drift": {"hold": 0}}, "drift.hold"),
        ({"guards": {}}, "guards"),
    ],
)
def test_settings_that_no_learner_can_use_are_refused_by_name(values: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=rf"1 fault in AdaptSettings:\n  {place}\b"):
        load_settings(AdaptSettings, values)


def test_a_sample_that_the_reservoir_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_from_reservoir is 33, and the reservoir holds 32 rows"):
        load_settings(AdaptSettings, {"batch_from_reservoir": 33, "reservoir_capacity": 32})
    load_settings(AdaptSettings, {"batch_from_reservoir": 32, "reservoir_capacity": 32})


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(ConfigError, match="'same', 'channel-dropout', 'feature-noise' or 'augmented-frame'"):
        load_settings(AdaptSettings, {"view": "rotate"})


def test_published_presets_keep_the_published_numbers() -> None:
    for name in ("paper", "official"):
        preset = ADAPT_PRESETS[name]  # type: ignore[index]
        assert (preset.lr, preset.betas, preset.alpha) == (1e-4, (0.9, 0.99), 0.999)
        assert (preset.view, preset.proximal_anchor, preset.proximal_weight) == ("same", "teacher", 1.0)
        assert math.isinf(preset.max_grad_norm)
    assert ADAPT_PRESETS["official"].restore_probability == 0.01
    assert ADAPT_PRESETS["paper"].restore_probability == 0


def test_no_preset_averages_with_the_source_or_learns_from_a_reservoir() -> None:
    for preset in ADAPT_PRESETS.values():
        assert (preset.source_averaging, preset.batch_from_reservoir) == (0, 0)


def test_published_presets_learn_by_consistency_and_track_nothing() -> None:
    for name in ("paper", "official"):
        preset = ADAPT_PRESETS[name]  # type: ignore[index]
        assert preset.objectives == {"consistency": 1.0}
        assert not preset.track.corrects


def test_no_objective_is_the_default_and_an_accepted_setting() -> None:
    assert AdaptSettings().objectives == {}
    assert load_settings(AdaptSettings, {"objectives": {}}) == AdaptSettings()


def test_learner_is_given_all_but_the_settings_of_tracker_and_watch() -> None:
    parameters = inspect.signature(Learner).parameters
    takes = {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert AdaptSettings().learner().keys() == takes - {"source"}
    assert AdaptSettings.model_fields.keys() - takes == {"track", "guard", "referee", "drift"}


def test_nested_settings_are_built_from_plain_values() -> None:
    values = {"track": {"steer": False}, "guard": {"window": 128}, "referee": {"proven": 5}, "drift": {"hold": 9}}
    settings = load_settings(AdaptSettings, values)
    assert not settings.track.steer
    assert (settings.guard.window, settings.referee.proven, settings.drift.hold) == (128, 5, 9)


def test_settings_survive_a_round_trip_through_plain_values() -> None:
    for preset in ADAPT_PRESETS.values():
        assert load_settings(AdaptSettings, preset.model_dump()) == preset


def test_two_settings_share_no_mutable_default() -> None:
    assert AdaptSettings().objectives is not AdaptSettings().objectives
