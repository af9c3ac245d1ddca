from __future__ import annotations

import inspect
from typing import Any

import pytest

from moase_edge.adapt.domains import DomainBank
from moase_edge.adapt.tracker import Tracker, steered_block
from moase_edge.config.base import load_settings
from moase_edge.config.track import TrackSettings
from moase_edge.errors import ConfigError

NAN, INFINITY = float("nan"), float("inf")

# Of the source, the model and the engine; not settings.
GIVEN = {"blocks", "block", "source_frames", "recognise_by_key"}


def keyword_defaults(owner: type) -> dict[str, Any]:
    parameters = inspect.signature(owner).parameters
    return {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and name not in GIVEN}


def test_settings_and_their_owners_share_names_and_defaults() -> None:
    bank, tracker = keyword_defaults(DomainBank), keyword_defaults(Tracker)
    assert not bank.keys() & tracker.keys()
    settings = TrackSettings().model_dump()
    depth = settings.pop("depth")
    assert settings == bank | tracker
    # The depth is an argument of the function that turns it into a block, which has no default.
    assert steered_block(12, depth, 1) == round(12 * depth)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"same_content": 1}, "same_content"),
        ({"same_content": NAN}, "same_content"),
        ({"most_domains": 0}, "most_domains"),
        ({"near": 0}, "near"),
        ({"near": NAN}, "near"),
        ({"spread": INFINITY}, "spread"),
        ({"decide": 0}, "decide"),
        ({"half_life": 0}, "half_life"),
        ({"half_life": INFINITY}, "half_life"),
        ({"caution": -1}, "caution"),
        ({"caution": NAN}, "caution"),
        ({"depth": 1}, "depth"),
        ({"strength": 2.1}, "strength"),
        ({"gain": 1}, "gain"),
        ({"gain": NAN}, "gain"),
        ({"trials": 1}, "trials"),
        ({"try_every": 0}, "try_every"),
        ({"half_live": 3}, "half_live"),
    ],
)
def test_settings_that_no_tracker_can_use_are_refused(values: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=rf"1 fault in TrackSettings:\n  {place}\b"):
        load_settings(TrackSettings, values)


@pytest.mark.parametrize("kept", ["recentre", "remember", "steer", None])
def test_there_is_something_to_do_where_one_correction_is_left(kept: str | None) -> None:
    off = dict.fromkeys(("recentre", "remember", "steer"), False)
    assert TrackSettings(**{**off, **({kept: True} if kept else {})}).corrects is (kept is not None)
