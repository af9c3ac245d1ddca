"""Figures of methods whose answers are written down."""

from __future__ import annotations

import json
import math

import pytest

from moase_edge.bench.site_figures import OnSite
from tests.bench.sites import PICTURES, RIGHT, Scripted, outcome, outcome_of, shown, turned


@pytest.mark.parametrize(
    ("mended", "broken", "name", "points"),
    [(10, 0, "helps", -25.0), (0, 10, "harms", 25.0), (0, 0, "unseen", 0.0), (5, 5, "unseen", 0.0)],
)
def test_the_verdict_is_that_of_the_last_round(mended: int, broken: int, name: str, points: float) -> None:
    found = outcome_of(mended, broken)
    assert found.verdict is found.last.verdict
    assert (found.verdict.name, found.verdict.difference.points) == (name, points)
    assert found.first.verdict.name == "unseen"
    assert (found.frozen_error, found.first.error.mean) == (30.0, 30.0)
    assert found.last.error.mean == pytest.approx(30.0 + points)
    assert (found.last.mended, found.last.broken) == (100 * mended / PICTURES, 100 * broken / PICTURES)
    assert found.last.changed == 100 * (mended + broken) / PICTURES
    assert found.verdict.turned == mended + broken


def test_a_first_round_that_harms_is_told_beside_a_last_one_that_helps() -> None:
    found = outcome_of(10, 0, first=(0, 8))
    assert (found.first.verdict.name, found.last.verdict.name) == ("harms", "helps")
    assert (found.first.number, found.last.number) == (1, 2)
    assert found.first.error.mean == 50.0


def test_another_wrong_answer_is_changed_and_neither_mended_nor_broken() -> None:
    frozen, other = turned()
    other[0] = 3 - RIGHT[0] - frozen[0]
    found = outcome(shown(frozen, lambda: Scripted([other])))
    assert (found.last.changed, found.last.mended, found.last.broken) == (100 / PICTURES, 0.0, 0.0)
    assert found.verdict.turned == 0


def test_orders_are_averaged_and_stand_alone() -> None:
    frozen, mended = turned(12, 0)
    scripts = iter([[frozen], [mended], [mended]])
    found = outcome(shown(frozen, lambda: Scripted(next(scripts)), seeds=(0, 1)))
    assert [(order.name, order.last_error) for order in found.by_order] == [
        ("camera", 30.0),
        ("shuffled 0", 0.0),
        ("shuffled 1", 0.0),
    ]
    assert (found.last.error.mean, found.last.error.count) == (pytest.approx(10.0), 3)
    assert [order.verdict.name for order in found.by_order] == ["unseen", "helps", "helps"]
    assert [picture.last_wrong for picture in found.by_picture[:12]] == [pytest.approx(1 / 3)] * 12
    assert found.verdict.turned == 12


def test_the_camera_s_order_repeats_and_others_are_shuffled_each_round() -> None:
    methods: list[Scripted] = []

    def make() -> Scripted:
        methods.append(Scripted([RIGHT]))
        return methods[-1]

    stages: list[str] = []
    answers = shown(RIGHT, make, seeds=(3, 4), rounds=3, on_stage=stages.append)
    in_order = list(range(PICTURES))
    assert methods[0].seen == in_order * 3
    rounds = [
        [method.seen[begin : begin + PICTURES] for begin in range(0, 3 * PICTURES, PICTURES)]
        for method in methods[1:]
    ]
    assert all(sorted(places) == in_order for of_method in rounds for places in of_method)
    distinct = {tuple(places) for of_method in rounds for places in of_method}
    assert len(distinct) == 6
    assert tuple(in_order) not in distinct
    assert [order.updates for order in answers.orders] == [3 * PICTURES] * 3
    assert len(stages) == 4


def test_a_seed_gives_its_order_whatever_other_seeds_there_are() -> None:
    def places(seeds: tuple[int, ...]) -> list[int]:
        answers = shown(RIGHT, lambda: Scripted([RIGHT]), seeds=seeds, rounds=2)
        found: list[int] = answers.orders[-1].last.picture.tolist()
        return found

    assert places((5,)) == places((1, 2, 5))
    assert places((5,)) != places((6,))


def test_one_round_is_both_the_first_and_the_last() -> None:
    frozen, mended = turned(10, 0)
    found = outcome(shown(frozen, lambda: Scripted([mended]), rounds=1), rounds=1)
    assert found.first is found.last
    assert found.last.number == 1
    assert [order.updates for order in found.by_order] == [PICTURES] * 2


def test_calibration_error_is_that_of_an_order_not_of_all_together() -> None:
    (right, _), (wrong, _) = turned(wrong=0), turned(wrong=PICTURES)
    scripts = iter([[right], [wrong]])
    found = outcome(shown(right, lambda: Scripted(next(scripts), confidence=0.75)))
    assert found.frozen_calibration_error == pytest.approx(10.0, abs=1e-4)
    # 25 and 75 by order; together right answers make up for wrong ones, and 25 would be left.
    assert found.last.calibration_error == pytest.approx(50.0, abs=1e-4)


def test_failures_updates_and_frozen_answers_are_counted_over_all_rounds() -> None:
    frozen, _ = turned()
    found = outcome(shown(frozen, lambda: Scripted([frozen], fails=True)))
    for order in found.by_order:
        assert order.failures == {"learner: ValueError": 2 * PICTURES}
        assert (order.updates, order.answered_frozen) == (0, 2 * PICTURES)


def test_pictures_keep_file_label_and_frozen_answer() -> None:
    found = outcome_of(1, 1)
    first, untouched, broken = (found.by_picture[place] for place in (0, 1, 12))
    assert (first.file, first.label, first.frozen_answer) == ("cat/000.png", "cat", "dog")
    assert (first.frozen_wrong, first.last_wrong) == (True, 0.0)
    assert (untouched.label, untouched.frozen_answer, untouched.last_wrong) == ("dog", "owl", 1.0)
    assert (broken.frozen_wrong, broken.last_wrong) == (False, 1.0)


def test_whoever_answers_the_commonest_class_errs_on_all_others() -> None:
    found = outcome_of(0, 0)
    assert (found.pictures, found.classes, found.commonest_error) == (PICTURES, 2, 50.0)
    assert found.left_out == {}


def test_plain_data_keeps_times_apart_and_is_json() -> None:
    found = outcome_of(10, 0)
    plain = found.plain()
    assert list(plain) == ["settings", "artifact", "results", "measured"]
    assert plain["measured"]["adapting"]["ms_per_frame"] == 4.0
    assert plain["results"]["verdict"] == "helps"
    assert plain["results"]["last"]["verdict"]["difference"]["points"] == -25.0
    assert len(plain["results"]["by_picture"]) == PICTURES
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_the_same_answers_give_the_same_figures() -> None:
    def figures() -> OnSite:
        return outcome_of(7, 2)

    assert figures() == figures()
    assert not math.isnan(figures().last.calibration_error)
