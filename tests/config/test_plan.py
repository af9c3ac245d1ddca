"""Settings of plans, and how a batch is written."""

from __future__ import annotations

import pytest

from moase_edge.config.base import load_settings
from moase_edge.config.plan import PlanSettings, parse_batch
from moase_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "batch"), [("1", (1, 1, 1)), ("4", (4, 4, 4)), ("1..8", (1, 1, 8)), ("1..4..8", (1, 4, 8))]
)
def test_a_batch_is_a_number_or_a_range(text: str, batch: tuple[int, int, int]) -> None:
    assert parse_batch(text) == batch
    assert PlanSettings(batch=batch).batch == batch


@pytest.mark.parametrize("text", ["", "many", "1-8", "1..", "..8", "1..2..3..4", "-1", "1.5", "²"])
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"4, 1\.\.8 or 1\.\.4\.\.8"):
        parse_batch(text)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"batch": (8, 4, 1)}, r"from the smallest by the usual to the largest, got 8\.\.4\.\.1"),
        ({"batch": (0, 1, 8)}, "greater than or equal to 1"),
        ({"batch": (1, 1, 10**6)}, "less than or equal to 4096"),
        ({"workspace_mib": 0}, "greater than or equal to 1"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_settings(PlanSettings, settings)
