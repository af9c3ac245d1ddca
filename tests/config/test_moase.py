from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.config.base import load_settings
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "papers"}, "'edge', 'paper' or 'official'"),
        ({"experts": 3}, "multiple of 2"),
        ({"experts": 0}, "greater than or equal to 2"),
        ({"experts": 66}, "less than or equal to 64"),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"experts": 6, "rank": 5}, r"at least the number of experts \(6\).*got 5"),
        ({"sdd_share": 0}, "greater than 0"),
        ({"rank": 8, "sdd_share": 0.2}, r"sdd_share \(0.2\).*got 8"),
        ({"without": ["hp"]}, "'sdd', 'dag' or 'asg'"),
        ({"without": ["sdd", "sdd"]}, "each part once"),
        ({"eta": 1.5}, "less than or equal to 1"),
        ({"eta": float("nan")}, "eta"),
        ({"ranks": 3}, "ranks"),
    ],
)
def test_an_adapter_that_cannot_be_built_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(MoaseSettings, values)


def test_an_odd_number_of_experts_does_not_hide_other_faults() -> None:
    with pytest.raises(ConfigError, match=r"2 faults(.|\n)*experts(.|\n)*rank"):
        load_settings(MoaseSettings, {"experts": 3, "rank": 0})


@given(experts=st.integers(1, 32).map(lambda half: 2 * half), rank=st.integers(1, 200))
def test_the_sparsest_expert_keeps_a_unit_exactly_where_the_settings_are_accepted(experts: int, rank: int) -> None:
    try:
        load_settings(MoaseSettings, {"experts": experts, "rank": rank})
        accepted = True
    except ConfigError:
        accepted = False
    # The first expert of each half keeps floor(R / E) of its R units (SDD, before the gate moves the threshold).
    assert accepted == (rank // experts >= 1)
