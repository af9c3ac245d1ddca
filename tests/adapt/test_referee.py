"""The referee: sequences of alarms worked by hand, and what holds for any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moase_edge.adapt.referee import Action, Decision, LastGood, Referee

KEEP, ROLL_BACK, GO_FROZEN, RETRY = Action.KEEP, Action.ROLL_BACK, Action.GO_FROZEN, Action.RETRY
ALARM = "class histogram collapsed: 1.0 classes, frozen 9.0"


def small() -> Referee:
    return Referee(proven=3, probation=4, hold_off=2, max_hold_off=5)


def actions(referee: Referee, alarms: str) -> list[Action]:
    """One step a letter: `x` is an alarm."""
    return [referee.step(ALARM if letter == "x" else None).action for letter in alarms]


def test_first_alarm_rolls_back_and_trust_returns_after_probation() -> None:
    referee = small()
    assert actions(referee, "..x") == [KEEP, KEEP, ROLL_BACK]
    assert referee.standing == "probation"
    assert referee.answers_adapted
    assert actions(referee, "....") == [KEEP] * 4
    assert referee.standing == "trusted"
    assert actions(referee, "x") == [ROLL_BACK]
    assert referee.counts()["rollbacks"] == 2


def test_second_alarm_on_probation_freezes_and_the_hold_off_ends_in_a_retry() -> None:
    referee = small()
    assert actions(referee, "x..x") == [ROLL_BACK, KEEP, KEEP, GO_FROZEN]
    assert not referee.answers_adapted
    assert actions(referee, "..") == [KEEP, RETRY]
    assert referee.answers_adapted
    assert referee.standing == "probation"


def test_hold_off_doubles_up_to_its_limit_and_halves_with_trust() -> None:
    referee = small()
    actions(referee, "xx")
    lasted = []
    for _ in range(4):
        frames = 1
        while referee.step(None).action is not RETRY:
            frames += 1
        lasted.append(frames)
        assert actions(referee, "x") == [GO_FROZEN]
    assert lasted == [2, 4, 5, 5]
    assert actions(referee, "....." + "....") == [KEEP] * 4 + [RETRY] + [KEEP] * 4
    assert referee.standing == "trusted"
    # 5 halved is 2.
    assert actions(referee, "xx" + "..") == [ROLL_BACK, GO_FROZEN, KEEP, RETRY]


def test_snapshots_are_taken_where_the_one_before_has_proved_itself() -> None:
    referee = small()
    taken = [referee.step(None).take_snapshot for _ in range(7)]
    assert taken == [False, False, True, False, False, True, False]
    referee.step(ALARM)
    # The clock starts again from the state that was restored.
    assert [referee.step(None).take_snapshot for _ in range(3)] == [False, False, True]
    assert referee.counts()["snapshots"] == 3


def test_frames_without_new_content_move_no_clock_but_an_alarm_is_heeded() -> None:
    referee = small()
    assert [referee.step(None, frames=0) for _ in range(10)] == [Decision(KEEP)] * 10
    assert referee.step(ALARM, frames=0).action is ROLL_BACK
    assert referee.step(ALARM, frames=0).action is GO_FROZEN
    assert [referee.step(None, frames=0).action for _ in range(10)] == [KEEP] * 10
    assert referee.step(None, frames=2).action is RETRY


def test_a_batch_counts_all_its_frames() -> None:
    assert small().step(None, frames=16).take_snapshot


def test_everything_that_was_done_is_counted() -> None:
    referee = small()
    assert set(referee.counts().values()) == {0}
    actions(referee, "...xx..")
    referee.step("answer not finite: 2 of 20 logits")
    assert referee.counts() == {
        "rollbacks": 1,
        "freezes": 2,
        "retries": 1,
        "snapshots": 1,
        "frames_frozen": 2,
        "alarm: class histogram collapsed": 2,
        "alarm: answer not finite": 1,
    }


def test_alarm_while_frozen_is_passed_over() -> None:
    referee = small()
    actions(referee, "xx")
    assert actions(referee, "xx") == [KEEP, RETRY]
    assert referee.counts()["alarm: class histogram collapsed"] == 2


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=120)


@given(steps)
def test_frozen_model_answers_between_a_freeze_and_its_retry_and_no_longer_than_the_limit(
    taken: list[tuple[bool, int]],
) -> None:
    referee = small()
    frozen, frames = False, 0
    for alarm, new in taken:
        decision = referee.step(ALARM if alarm else None, frames=new)
        if frozen:
            frames += new
            assert decision.action in (KEEP, RETRY)
            assert not decision.take_snapshot
            # A batch of three may end two frames late.
            assert frames <= 5 + 2
        frozen = decision.action is GO_FROZEN or (frozen and decision.action is not RETRY)
        frames = frames if frozen else 0
        assert referee.answers_adapted is not frozen
        assert not (decision.take_snapshot and (alarm or decision.action is not KEEP))


@given(steps, steps)
def test_restored_referee_continues_as_the_first_one(
    before: list[tuple[bool, int]], after: list[tuple[bool, int]]
) -> None:
    def follow(referee: Referee, taken: list[tuple[bool, int]]) -> list[Decision]:
        return [referee.step(ALARM if alarm else None, frames=new) for alarm, new in taken]

    referee, other = small(), small()
    follow(referee, before)
    other.restore(referee.snapshot())
    assert follow(other, after) == follow(referee, after)
    assert other.snapshot() == referee.snapshot()
    referee.reset()
    assert referee.snapshot() == small().snapshot()


def test_rollback_gives_the_snapshot_before_the_unproven_one() -> None:
    kept = LastGood("source")
    kept.take("first")
    assert kept.rolled_back() == "source"
    kept.take("second")
    kept.take("third")
    assert kept.rolled_back() == "second"
    # The third, which led to the alarm, never comes back.
    kept.take("fourth")
    assert kept.rolled_back() == "second"


def test_source_state_drops_all_snapshots() -> None:
    kept = LastGood("source")
    kept.take("first")
    kept.take("second")
    assert kept.back_to_source() == "source"
    assert kept.rolled_back() == "source"
