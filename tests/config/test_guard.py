from __future__ import annotations

import inspect
from typing import Any

import pytest

from moase_edge.adapt.drift import DriftDetector
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.referee import Referee
from moase_edge.config.base import Settings, load_settings
from moase_edge.config.guard import DriftSettings, GuardSettings, RefereeSettings
from moase_edge.errors import ConfigError

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "owner"), [(DriftSettings, DriftDetector), (GuardSettings, Guard), (RefereeSettings, Referee)]
)
def test_settings_and_their_owner_share_names_and_defaults(kind: type[Settings], owner: type) -> None:
    parameters = inspect.signature(owner).parameters
    takes = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert kind().model_dump() == takes


@pytest.mark.parametrize(
    ("kind", "values", "place"),
    [
        (DriftSettings, {"fast": 0}, "fast"),
        (DriftSettings, {"slow": 1}, "slow"),
        (DriftSettings, {"threshold": NAN}, "threshold"),
        (DriftSettings, {"threshold": INFINITY}, "threshold"),
        (DriftSettings, {"warm_up": 9}, "warm_up"),
        (DriftSettings, {"hold": 0}, "hold"),
        (DriftSettings, {"fast": 0.99}, "slow must be above fast"),
        (GuardSettings, {"window": 7}, "window"),
        (GuardSettings, {"min_class_ratio": 1.1}, "min_class_ratio"),
        (GuardSettings, {"confident": NAN}, "confident"),
        (GuardSettings, {"max_distance": NAN}, "max_distance"),
        (GuardSettings, {"window": 16}, "warm_up and min_confident must not be above window"),
        (RefereeSettings, {"proven": 0}, "proven"),
        (RefereeSettings, {"hold_off": 5000}, "max_hold_off must not be below hold_off"),
    ],
)
def test_settings_that_no_watch_can_use_are_refused(
    kind: type[Settings], values: dict[str, Any], place: str
) -> None:
    with pytest.raises(ConfigError, match=rf"1 fault in {kind.__name__}:\n  {place}\b"):
        load_settings(kind, values)
