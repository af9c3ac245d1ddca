"""The guard: alarms on harm, silent on a narrow stream and on healthy disagreement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.adapt.guard import Guard, GuardState

K = 20
Logits = NDArray[np.float32]


def answers(classes: NDArray[np.int64], *, strength: float, seed: int = 0) -> Logits:
    """Logits (n, K) that name the classes, the larger `strength` the surer, beside noise of spread 0.5."""
    logits = np.random.default_rng(seed).normal(scale=0.5, size=(len(classes), K)).astype(np.float32)
    logits[np.arange(len(classes)), classes] += strength
    return logits


def drawn(frames: int = 64, seed: int = 5) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, K, frames)


def constant(index: int, frames: int = 64) -> NDArray[np.int64]:
    return np.full(frames, index)


def watched(guard: Guard, adapted: Logits, frozen: Logits, **facts: Any) -> str | None:
    for row, other in zip(adapted, frozen, strict=True):
        guard.observe(row, other, **facts)
    return guard.check()


def first_alarm(guard: Guard, adapted: Logits, frozen: Logits) -> int | None:
    for index, (row, other) in enumerate(zip(adapted, frozen, strict=True)):
        guard.observe(row, other)
        if guard.check():
            return index
    return None


def test_collapse_to_one_class_beside_diverse_frozen_answers_alarms_in_words() -> None:
    guard = Guard()
    alarm = watched(guard, answers(constant(3), strength=6), answers(drawn(), strength=4))
    seen = guard.figures()
    assert alarm == f"class histogram collapsed: {seen.classes:.1f} classes, frozen {seen.frozen_classes:.1f}"
    assert seen.classes < 1.2
    assert seen.frozen_classes > 4


def test_collapse_to_answers_that_know_nothing_alarms() -> None:
    alarm = watched(Guard(), np.zeros((64, K), np.float32), answers(drawn(), strength=4))
    assert alarm is not None
    assert alarm.startswith("class histogram collapsed: 1.0 classes")


def test_collapse_is_found_once_it_fills_the_window() -> None:
    frozen = answers(drawn(256), strength=4)
    adapted = np.concatenate([frozen[:128], answers(constant(3, 128), strength=6)])
    found = first_alarm(Guard(), adapted, frozen)
    assert found is not None
    assert 128 < found < 128 + 64


def test_one_class_for_minutes_in_both_raises_no_alarm() -> None:
    frozen = answers(constant(3, 200), strength=4)
    assert first_alarm(Guard(), answers(constant(3, 200), strength=5, seed=1), frozen) is None


def test_better_answers_than_the_frozen_ones_raise_no_alarm() -> None:
    truth = drawn(300)
    wrong = np.random.default_rng(1).random(300) < 0.6
    frozen = answers(np.where(wrong, drawn(300, seed=2), truth), strength=2.5)
    assert first_alarm(Guard(), answers(truth, strength=5, seed=3), frozen) is None


def test_surer_answers_beside_unsure_ones_are_no_collapse_of_the_histogram() -> None:
    # The mean answer of the unsure model covers all classes, though it tells none apart.
    stream = np.random.default_rng(0).integers(0, 3, 200)
    guard = Guard(min_entropy_ratio=0)
    assert first_alarm(guard, answers(stream, strength=6), answers(stream, strength=1.0)) is None
    assert guard.figures().classes > 2.5


def test_frozen_model_sure_of_one_wrong_class_is_not_believed() -> None:
    # Low contrast: the frozen model is sure and wrong, the re-centred one unsure and right.
    frozen = answers(constant(1, 200), strength=6)
    assert first_alarm(Guard(), answers(drawn(200), strength=2), frozen) is None


def test_many_errors_of_the_frozen_model_on_one_class_are_no_collapse_where_its_sure_answers_are_shared() -> None:
    sure = np.arange(64) % 2 == 0
    frozen = np.where(sure[:, None], answers(constant(3), strength=7), answers(drawn(), strength=2))
    limits = {"min_class_ratio": 1.0, "min_entropy_ratio": 0.0}
    assert watched(Guard(**limits), answers(constant(3), strength=7, seed=9), frozen) is None
    # The same, but for a class that the frozen model is never sure of.
    alarm = watched(Guard(**limits), answers(constant(4), strength=2.5, seed=9), frozen)
    assert alarm is not None
    assert alarm.startswith("class histogram collapsed")


def test_certainty_far_beyond_the_frozen_one_alarms() -> None:
    truth = drawn()
    alarm = watched(Guard(), answers(truth, strength=12), answers(truth, strength=2))
    assert alarm is not None
    assert alarm.startswith("answers became too certain: mean 0.002 nats, frozen 2.")


def test_certainty_beside_a_certain_frozen_model_raises_no_alarm() -> None:
    truth = drawn()
    assert watched(Guard(), answers(truth, strength=20), answers(truth, strength=8)) is None


def test_sure_answers_against_sure_answers_alarm_with_their_number() -> None:
    truth = drawn()
    frozen = answers(truth, strength=7)
    assert watched(Guard(), answers((truth + 1) % K, strength=7), frozen) == (
        "confident answers contradicted: 64 of 64"
    )
    # Fewer than 16 sure answers prove nothing.
    few = np.where((np.arange(64) < 15)[:, None], frozen, answers(truth, strength=3))
    guard = Guard()
    assert watched(guard, answers((truth + 1) % K, strength=5), few) is None
    assert guard.figures().confident == 15


def test_non_finite_answer_alarms_at_once_on_any_frame_and_until_reset() -> None:
    guard = Guard()
    good = answers(drawn(2), strength=3)
    bad = good[0].copy()
    bad[:2] = np.nan, np.inf
    guard.observe(bad, good[0], new_content=False)
    guard.observe(good[1], good[1])
    assert guard.check() == "answer not finite: 2 of 20 logits, frozen none"
    guard.reset()
    assert guard.check() is None


def test_frame_without_a_finite_frozen_answer_is_not_blamed_on_the_adapted_model() -> None:
    guard = Guard()
    nothing = np.full(K, np.nan, np.float32)
    guard.observe(nothing, nothing)
    guard.observe(answers(drawn(1), strength=1)[0], nothing)
    assert guard.check() is None
    assert guard.figures().frames == 0


@pytest.mark.parametrize(("distance", "alarms"), [(1.0, False), (1.5, True), (math.nan, True)])
def test_distance_beyond_its_limit_alarms_at_once(distance: float, alarms: bool) -> None:
    guard = Guard(max_distance=1.0)
    row = answers(drawn(1), strength=1)[0]
    guard.observe(row, row, distance=distance)
    guard.observe(row, row)
    assert (guard.check() is not None) is alarms
    assert alarms is str(guard.check()).startswith("weights left the source: distance")


def test_guard_does_not_speak_before_its_warm_up() -> None:
    adapted, frozen = answers(constant(3), strength=6), answers(drawn(), strength=4)
    assert first_alarm(Guard(warm_up=40), adapted, frozen) == 39


def test_frames_without_new_content_are_not_compared() -> None:
    guard = Guard()
    adapted, frozen = answers(constant(3), strength=6), answers(drawn(), strength=4)
    assert watched(guard, adapted, frozen, new_content=False) is None
    assert guard.figures().frames == 0


def test_figures_of_a_window_are_as_computed_by_hand() -> None:
    guard = Guard(window=8, warm_up=2, min_confident=2)
    # Adapted: sure of two classes in turn; frozen: a coin between the same two, always.
    sure = np.full((2, 4), -1000, np.float32)
    sure[0, 0] = sure[1, 1] = 0
    coin = np.array([0, 0, -1000, -1000], np.float32)
    for _ in range(10):
        guard.observe(sure[0], coin)
        guard.observe(sure[1], coin)
    seen = guard.figures()
    assert (seen.frames, seen.confident, seen.agreed, seen.contradicted) == (8, 0, 0, 0)
    assert (seen.classes, seen.frozen_classes) == pytest.approx((2, 1), rel=1e-6)
    assert (seen.entropy, seen.frozen_entropy) == pytest.approx((0, math.log(2)), rel=1e-6)


def test_only_the_window_is_remembered() -> None:
    long, short = Guard(), Guard()
    stream = answers(drawn(300), strength=3), answers(drawn(300), strength=2, seed=1)
    watched(long, *stream)
    watched(short, stream[0][-64:], stream[1][-64:])
    ours, theirs = long.figures(), short.figures()
    assert ours.classes == pytest.approx(theirs.classes, rel=1e-6)
    assert ours.entropy == pytest.approx(theirs.entropy, rel=1e-6)
    assert long.snapshot().facts.shape == (64, 5)


def values(state: GuardState) -> list[Any]:
    held = None if state.probabilities is None else state.probabilities.tobytes()
    return [held, state.facts.tobytes(), state.oldest, state.distance, state.broken]


@pytest.mark.parametrize("frames", [0, 20, 100])
def test_restored_guard_continues_bit_for_bit(frames: int) -> None:
    adapted, frozen = answers(drawn(150), strength=3), answers(drawn(150), strength=2, seed=1)
    guard, other = Guard(), Guard()
    watched(guard, adapted[:frames], frozen[:frames], distance=0.5)
    state = guard.snapshot()
    as_taken = values(state)
    watched(guard, adapted[frames:], frozen[frames:])
    assert values(state) == as_taken
    other.restore(state)
    watched(other, adapted[frames:], frozen[frames:])
    assert other.figures() == guard.figures()
    assert values(other.snapshot()) == values(guard.snapshot())


def test_reset_guard_is_as_a_new_one() -> None:
    guard = Guard()
    watched(guard, answers(drawn(), strength=3), answers(drawn(), strength=2), distance=3.0)
    guard.reset()
    assert values(guard.snapshot()) == values(Guard().snapshot())
    assert guard.figures() == Guard().figures()


@pytest.mark.parametrize(("adapted", "frozen"), [((3,), (4,)), ((1,), (1,)), ((2, 3), (2, 3))])
def test_logits_of_other_shapes_are_refused(adapted: tuple[int, ...], frozen: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"of shape \(K,\), K at least 2"):
        Guard().observe(np.zeros(adapted, np.float32), np.zeros(frozen, np.float32))


def test_another_number_of_classes_than_before_is_refused() -> None:
    guard = Guard()
    guard.observe(np.zeros(4, np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="the same for all frames"):
        guard.observe(np.zeros(5, np.float32), np.zeros(5, np.float32))
