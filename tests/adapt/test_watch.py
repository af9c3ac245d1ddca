"""The watch: what follows from alarms, by sequences worked by hand with a guard that follows a script."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moase_edge.adapt.guard import Guard
from moase_edge.adapt.referee import Action, Referee
from moase_edge.adapt.watch import Watch

KEEP, ROLL_BACK, GO_FROZEN, RETRY = Action.KEEP, Action.ROLL_BACK, Action.GO_FROZEN, Action.RETRY
ALARM = "answer not finite: 1 of 3 logits, frozen none"


class ScriptedGuard(Guard):
    """Alarms where the script has an `x`, one letter a check; remembers what it was shown."""

    def __init__(self, script: str = "") -> None:
        self.resets = 0
        self.seen: list[Any] = []
        self._script = iter(script)
        super().__init__()

    def check(self) -> str | None:
        return ALARM if next(self._script, ".") == "x" else None

    def observe(self, adapted: Any, frozen: Any, **facts: Any) -> None:
        self.seen.append((adapted.tolist(), frozen.tolist(), facts))

    def reset(self) -> None:
        self.resets += 1
        super().reset()


class Counter:
    """What is watched: a number that grows with each thing learned."""

    def __init__(self) -> None:
        self.value = 0
        self.restored: list[int] = []

    def snapshot(self) -> int:
        return self.value

    def restore(self, state: int) -> None:
        self.restored.append(state)
        self.value = state


def watched(script: str) -> tuple[Watch[int], Counter, ScriptedGuard]:
    counter, guard = Counter(), ScriptedGuard(script)
    guard.resets = 0
    referee = Referee(proven=3, probation=4, hold_off=2, max_hold_off=5)
    return Watch(guard, referee, counter.snapshot, counter.restore), counter, guard


def drive(watch: Watch[int], counter: Counter, steps: int) -> list[tuple[Action, int]]:
    """Learn once, then judge one frame: what was done, and the number that is left."""
    done = []
    for _ in range(steps):
        counter.value += watch.trusts
        done.append((watch.judge(1), counter.value))
    return done


def test_without_alarms_nothing_is_ever_set_back() -> None:
    watch, counter, guard = watched("")
    assert drive(watch, counter, 9) == [(KEEP, value) for value in range(1, 10)]
    assert counter.restored == []
    assert guard.resets == 0
    assert watch.trusts
    assert (watch.rollbacks, watch.why) == (0, None)
    assert watch.counts()["snapshots"] == 3


def test_an_alarm_before_any_proof_goes_back_to_the_start() -> None:
    watch, counter, guard = watched("..x")
    assert drive(watch, counter, 4) == [(KEEP, 1), (KEEP, 2), (ROLL_BACK, 0), (KEEP, 1)]
    assert guard.resets == 1
    assert watch.trusts
    assert watch.why == ALARM


def test_an_alarm_goes_back_to_the_snapshot_that_proved_itself() -> None:
    # Snapshots after frames 3 and 6; the second makes the first a good one.
    watch, counter, _ = watched(".......x")
    assert drive(watch, counter, 8)[-1] == (ROLL_BACK, 3)
    # After a single snapshot that has yet to prove itself, the start is the last good state.
    watch, counter, _ = watched("....x")
    assert drive(watch, counter, 5)[-1] == (ROLL_BACK, 0)


def test_an_alarm_on_probation_freezes_at_the_source_and_a_retry_begins_there() -> None:
    watch, counter, guard = watched(".......xx")
    drive(watch, counter, 8)
    assert drive(watch, counter, 1) == [(GO_FROZEN, 0)]
    assert not watch.trusts
    assert watch.rollbacks == 2
    assert drive(watch, counter, 3) == [(KEEP, 0), (RETRY, 0), (KEEP, 1)]
    assert watch.trusts
    assert counter.restored == [3, 0, 0]
    assert guard.resets == 3
    assert {name: count for name, count in watch.counts().items() if count} == {
        "rollbacks": 1,
        "freezes": 1,
        "retries": 1,
        "snapshots": 2,
        "frames_frozen": 2,
        "alarm: answer not finite": 2,
    }


def test_snapshots_of_before_a_freeze_are_not_gone_back_to() -> None:
    # Frozen after a good snapshot at 3; retried at 11; an alarm on probation freezes again, at the source.
    watch, counter, _ = watched(".......xx" + ".x")
    assert [action for action, _ in drive(watch, counter, 13)][-2:] == [KEEP, GO_FROZEN]
    assert counter.value == 0
    assert 3 not in counter.restored[1:]


def test_the_guard_is_not_asked_while_frozen() -> None:
    watch, counter, _ = watched("xx" + "x")
    drive(watch, counter, 3)
    assert not watch.trusts
    # The script's third letter is still there when trust is tried again.
    assert [action for action, _ in drive(watch, counter, 2)] == [RETRY, GO_FROZEN]


def test_frames_without_new_content_move_no_clock_but_their_alarm_counts() -> None:
    watch, _, _ = watched("." * 50 + "x")
    for _ in range(50):
        assert watch.judge(0) is KEEP
    assert watch.counts()["snapshots"] == 0
    assert watch.judge(0) is ROLL_BACK


def test_each_frame_is_shown_to_the_guard_with_what_is_known_of_it() -> None:
    watch, _, guard = watched("")
    adapted, frozen = np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]])
    watch.observe(adapted, frozen, np.array([True, False]))
    assert guard.seen == [([1, 2], [5, 6], {"new_content": True}), ([3, 4], [7, 8], {"new_content": False})]


def test_a_distance_is_judged_without_an_answer_to_compare() -> None:
    kept: list[float] = [0.0]
    watch = Watch(Guard(max_distance=1.0), Referee(), lambda: kept[0], kept.append)
    watch.tell_distance(0.9)
    assert watch.judge(0) is KEEP
    watch.tell_distance(1.1)
    assert watch.judge(0) is ROLL_BACK
    assert kept[-1] == 0.0


def test_answers_that_do_not_belong_together_are_refused() -> None:
    watch, _, _ = watched("")
    with pytest.raises(ValueError, match="zip"):
        watch.observe(np.zeros((2, 3)), np.zeros((1, 3)), np.ones(2, dtype=bool))
