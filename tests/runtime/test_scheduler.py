from __future__ import annotations

import pytest

from moase_edge.errors import ConfigError
from moase_edge.runtime.scheduler import parse_schedule


@pytest.mark.parametrize(
    ("mode", "learned"),
    [
        ("every", [0, 1, 2, 3, 4, 5]),
        ("every-1", [0, 1, 2, 3, 4, 5]),
        ("every-2", [0, 2, 4]),
        ("every-10", [0]),
        ("on-shift", [0, 1, 2, 3, 4, 5]),
        ("idle", [0, 1, 2, 3, 4, 5]),
        ("hold", []),
        ("off", []),
    ],
)
def test_a_mode_says_which_batches_are_learned_from(mode: str, learned: list[int]) -> None:
    schedule = parse_schedule(mode)
    assert [batch for batch in range(6) if schedule.due(batch)] == learned
    assert schedule.mode == mode


def test_every_10_learns_from_the_first_and_then_each_tenth() -> None:
    schedule = parse_schedule("every-10")
    assert [batch for batch in range(31) if schedule.due(batch)] == [0, 10, 20, 30]


def test_only_off_does_without_the_sidecar() -> None:
    modes = ("every", "every-3", "on-shift", "hold", "off")
    assert {mode: parse_schedule(mode).sidecar for mode in modes} == {
        "every": True,
        "every-3": True,
        "on-shift": True,
        "hold": True,
        "off": False,
    }


@pytest.mark.parametrize(
    "mode",
    ["every-0", "every-x", "every-", "every--1", "every-1.5", "on-shift-2", "idle-2", "", "OFF", "every-1 "],
)
def test_another_mode_is_refused_with_the_list(mode: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_schedule(mode)
    assert repr(mode) in str(refusal.value)
    assert all(known in str(refusal.value) for known in ("every ", "every-N", "on-shift", "idle", "hold", "off"))


def test_only_on_shift_keeps_the_weights_where_the_domain_is_known() -> None:
    modes = ("every", "every-3", "on-shift", "hold", "off")
    assert [mode for mode in modes if parse_schedule(mode).on_shift] == ["on-shift"]
