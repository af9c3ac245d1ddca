from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.runtime.budget import UpdateBudget


def test_the_first_update_is_tried_because_its_cost_is_unknown() -> None:
    assert UpdateBudget(33.0).allows(spent_ms=32.0)


def test_an_update_is_allowed_where_the_cost_of_earlier_ones_fits_in_what_is_left() -> None:
    budget = UpdateBudget(33.0)
    budget.took(10.0)
    assert budget.allows(spent_ms=23.0)
    assert not budget.allows(spent_ms=23.1)


def test_one_dear_update_among_many_decides() -> None:
    budget = UpdateBudget(33.0)
    for cost in [1.0] * 49 + [30.0]:
        budget.took(cost)
    # numpy's 99th percentile of 50 costs lies at position 48.51: 1 + 0.51 * 29.
    assert budget.expected_ms == pytest.approx(1 + 0.51 * 29)
    assert not budget.allows(spent_ms=20.0)


def test_after_as_many_refusals_as_costs_are_kept_one_update_is_tried_again() -> None:
    budget = UpdateBudget(10.0)
    for _ in range(500):
        budget.took(100.0)
    answers = [budget.allows(spent_ms=1.0) for _ in range(129)]
    assert answers == [False] * 128 + [True]


def test_an_update_that_never_fits_runs_on_one_frame_in_129() -> None:
    budget, tried = UpdateBudget(33.0), []
    for frame in range(400):
        if budget.allows(spent_ms=10.0):
            tried.append(frame)
            budget.took(50.0)
    assert tried == [0, 129, 258, 387]


def test_refusals_that_are_not_in_a_row_lead_to_no_trial() -> None:
    budget = UpdateBudget(33.0)
    budget.took(10.0)
    answers = [budget.allows(spent_ms=20.0 if frame % 100 == 0 else 30.0) for frame in range(400)]
    assert [frame for frame, allowed in enumerate(answers) if allowed] == [0, 100, 200, 300]


def test_a_frame_without_time_left_neither_updates_nor_forgets() -> None:
    budget = UpdateBudget(10.0)
    budget.took(3.0)
    assert not any(budget.allows(spent_ms=spent) for spent in (10.0, 11.0, 1e6))
    assert budget.expected_ms == 3.0


@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=300), st.floats(0.0, 40.0))
def test_nothing_dearer_than_all_that_is_left_was_expected_where_an_update_is_allowed(
    costs: list[float], spent: float
) -> None:
    budget = UpdateBudget(33.0)
    for cost in costs:
        budget.took(cost)
    expected = budget.expected_ms
    assert min(costs) <= expected <= max(costs)
    assert budget.allows(spent) == (spent < 33.0 and expected <= 33.0 - spent)


@pytest.mark.parametrize("budget_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_positive_number_is_refused(budget_ms: float) -> None:
    with pytest.raises(ConfigError, match="positive number of milliseconds"):
        UpdateBudget(budget_ms)
