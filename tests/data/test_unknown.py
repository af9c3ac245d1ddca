from __future__ import annotations

from moase_edge.data.unknown import does_not_exist


def test_the_nearest_name_is_offered_and_all_are_listed() -> None:
    said = does_not_exist("shift", "dimed", ("dimmed", "turned"))
    assert said == "shift 'dimed' does not exist; did you mean 'dimmed'? expected one of dimmed, turned"


def test_where_no_name_is_near_none_is_offered() -> None:
    assert does_not_exist("shift", 3, ("dimmed",)) == "shift 3 does not exist; expected one of dimmed"
