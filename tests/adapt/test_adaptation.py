"""Everything that adapts, as one thing: its answers, and what is learned from them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from moase_edge.adapt.adaptation import DISTANCE_EVERY, Adaptation, Answer, finite_rows
from moase_edge.adapt.domains import DomainBank
from moase_edge.adapt.drift import Drift, DriftDetector
from moase_edge.adapt.sidecar import Taps
from moase_edge.adapt.tracker import Tracker
from moase_edge.errors import AdaptationError
from tests.adapt.adaptations import (
    BLOCK,
    BLOCKS,
    PLAIN,
    VARIANTS,
    follow,
    head,
    held,
    learn,
    never,
    taps_of,
    tracker_of,
)
from tests.adapt.backbones import CHANNELS, draw, random_taps, sidecar_of, small_vit
from tests.adapt.learners import assert_same_state, flattened, small_learner


def test_rows_with_anything_that_is_no_finite_number_are_found() -> None:
    logits = np.array([[1, 2], [np.nan, 0], [0, np.inf], [-np.inf, 0]])
    assert finite_rows(logits).tolist() == [True, False, False, False]


def test_where_nobody_looked_every_row_counts_as_new() -> None:
    adaptation = held(tracked=False)
    answer = adaptation.answer(taps_of(adaptation, batch=3), np.zeros(3, dtype=bool))
    assert answer.new.tolist() == [True, True, True]


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_answer_without_adaptation_is_the_sidecar_s_bit_for_bit(variant: str, tracked: bool) -> None:
    adaptation = held(tracked=tracked, variant=variant, remember=False)
    frozen = sidecar_of(small_vit(**VARIANTS[variant]), perturbed=True)
    for seed, batch in ((0, 1), (10, 5)):
        taps = random_taps(frozen, batch, seed)
        answer = adaptation.answer(taps, np.zeros(batch, dtype=bool))
        with torch.no_grad():
            assert answer.logits.tobytes() == frozen(taps).logits.numpy().tobytes()
        assert answer.logits.dtype == np.float32
        assert (answer.seen is not None) is tracked


def test_an_answer_is_the_head_s_to_the_corrected_features() -> None:
    adaptation = held(remember=False)
    follow(adaptation, 20)
    assert adaptation.tracker is not None
    taps = taps_of(adaptation, 99)
    answer = adaptation.answer(taps, PLAIN)
    pooled = answer.views.pooled
    assert pooled is not None
    keys, found = adaptation.tracker.recognise(pooled.numpy()[:, 0])
    corrected, _ = adaptation.tracker.correct(pooled.numpy(), keys, found, PLAIN)
    expected = head(adaptation._sidecar.teacher, corrected)
    assert np.array_equal(answer.logits, expected)
    assert not np.array_equal(answer.logits, answer.views.logits.numpy())


def test_domains_are_taken_from_token_means_where_they_are_told() -> None:
    adaptation = held(steerable=True)
    assert adaptation.tracker is not None
    for seed in range(4):
        keys, found = adaptation.tracker.recognise(np.full((1, CHANNELS), 5.0))
        answer = adaptation.answer(taps_of(adaptation, seed), PLAIN, keys, found)
        learn(adaptation, answer, run_again=partial(same_outputs, answer.taps))
    assert adaptation.counts()["domains_found"] == 1
    assert answer.seen is not None
    assert np.array_equal(answer.seen.keys, np.full((1, CHANNELS), 5.0))


def same_outputs(taps: Taps, rows: NDArray[np.int64], _shift: Any) -> Mapping[str, NDArray[np.float32]]:
    return {"mid": taps.mid.numpy()[rows], "out": taps.out.numpy()[rows]}


def test_the_second_run_of_a_trial_is_read_as_the_head_reads_it() -> None:
    adaptation = held(steerable=True)
    assert adaptation.tracker is not None
    other = taps_of(adaptation, 77)
    for seed in range(4):
        keys, found = adaptation.tracker.recognise(np.full((1, CHANNELS), 5.0))
        answer = adaptation.answer(taps_of(adaptation, seed), PLAIN, keys, found)
        learn(adaptation, answer, run_again=partial(same_outputs, other))
    state = adaptation.snapshot().tracker
    assert state is not None
    with torch.no_grad():
        expected = adaptation._sidecar.teacher(other).pooled
    assert np.array_equal(state.trials[1].steered[-1], expected[0].numpy())


def test_a_held_sidecar_without_a_tracker_learns_nothing() -> None:
    adaptation = held(tracked=False)
    answer = adaptation.answer(taps_of(adaptation), PLAIN)
    assert learn(adaptation, answer) is None
    assert adaptation.snapshot().learner is None
    assert adaptation.snapshot().tracker is None


def test_figures_of_tracker_and_learner_come_together() -> None:
    learner = small_learner(perturbed=True)
    adaptation = Adaptation(learner, tracker=tracker_of(learner.teacher))
    answer = adaptation.answer(taps_of(adaptation), PLAIN)
    figures = learn(adaptation, answer)
    assert figures is not None
    tracked = {"domain", "feature_shift", "steered"}
    stepped = {"loss", "proximal", "grad_norm", "student_teacher_distance", "teacher_source_distance"}
    assert figures.keys() == tracked | stepped
    # The same picture again: the tracker has nothing to count, the weights learn.
    figures = learn(adaptation, adaptation.answer(taps_of(adaptation), PLAIN))
    assert figures is not None
    assert figures.keys() == {"loss", "proximal", "grad_norm"}


def test_weights_learn_from_the_answer_before_it_was_corrected() -> None:
    tracked = Adaptation(learner := small_learner(perturbed=True), tracker=tracker_of(learner.teacher))
    plain = Adaptation(other := small_learner(perturbed=True))
    follow(tracked, 5)
    follow(plain, 5)
    assert_same_state(flattened(learner.snapshot()), flattened(other.snapshot()))


def test_a_step_that_is_not_finite_is_told_and_changes_no_weight() -> None:
    adaptation = Adaptation(learner := small_learner(objectives={"entropy": 1.0}))
    before = flattened(learner.snapshot())
    answer = adaptation.answer(taps_of(adaptation), PLAIN)
    broken = Answer(
        answer.logits, Taps(answer.taps.mid, torch.full_like(answer.taps.out, torch.nan)), answer.views, None
    )
    with pytest.raises(AdaptationError, match="not finite"):
        learn(adaptation, broken)
    assert_same_state(flattened(learner.snapshot()), before)


class TogglingTracker(Tracker):
    """Shifts where it is told to."""

    told = False

    @property
    def shifting(self) -> bool:
        return self.told


def test_on_shift_weights_learn_only_while_the_tracker_says_so() -> None:
    learner = small_learner(perturbed=True)
    zero, one = np.zeros(CHANNELS), np.ones(CHANNELS)
    bank = DomainBank(zero, one, zero, one, source_frames=100)
    tracker = TogglingTracker(bank, partial(head, learner.teacher), blocks=BLOCKS, block=BLOCK, steer=False)
    adaptation = Adaptation(learner, tracker=tracker, on_shift=True)
    updates = []
    for index, told in enumerate((False, True, True, False)):
        tracker.told = told
        figures = learn(adaptation, adaptation.answer(taps_of(adaptation, index), PLAIN))
        assert ("loss" in (figures or {})) is told
        updates.append(learner.updates)
    assert updates == [0, 1, 2, 2]


class ScriptedDrift(DriftDetector):
    """Shifts where the script has an `x`, one letter a frame; remembers the frames."""

    def __init__(self, script: str) -> None:
        super().__init__()
        self.seen: list[NDArray[np.floating]] = []
        self._script = iter(script)

    def update(self, features: NDArray[np.floating]) -> Drift:
        self.seen.append(features)
        return Drift(0.0, next(self._script) == "x")


@pytest.mark.parametrize("tracked", [False, True])
def test_on_shift_the_drift_detector_decides_where_the_engine_tells_no_token_means(tracked: bool) -> None:
    learner, drift = small_learner(perturbed=True), ScriptedDrift(".x.")
    tracker = tracker_of(learner.teacher) if tracked else None
    adaptation = Adaptation(learner, tracker=tracker, on_shift=True, drift=drift)
    for seed in range(3):
        learn(adaptation, adaptation.answer(taps_of(adaptation, seed), PLAIN))
    assert learner.updates == 1
    assert len(drift.seen) == 3


def test_a_batch_is_learned_from_where_any_of_its_rows_has_shifted() -> None:
    learner, drift = small_learner(perturbed=True), ScriptedDrift("...x...")
    adaptation = Adaptation(learner, on_shift=True, drift=drift)
    for seed in range(2):
        answer = adaptation.answer(taps_of(adaptation, seed, batch=3), np.zeros(3, dtype=bool))
        learn(adaptation, answer)
    assert learner.updates == 1
    assert len(drift.seen) == 6


def test_drift_is_told_from_features_that_learning_does_not_move() -> None:
    learner, drift = small_learner(perturbed=True, lr=0.05, alpha=0.0), ScriptedDrift("x" * 8)
    adaptation = Adaptation(learner, on_shift=True, drift=drift)
    taps = taps_of(adaptation)
    for _ in range(8):
        learn(adaptation, adaptation.answer(taps, PLAIN))
    assert learner.distance().teacher_source > 0.1
    for seen in drift.seen[1:]:
        assert np.array_equal(seen, drift.seen[0])


def test_counts_tell_what_was_found_and_done() -> None:
    adaptation = held()
    follow(adaptation, 3)
    counts = adaptation.counts()
    assert (counts["domains_found"], counts["rollbacks"], counts["frames_frozen"]) == (1, 0, 0)
    assert "domains_found" not in held(tracked=False).counts()


def test_distances_are_measured_in_the_first_update_and_each_tenth_after_it() -> None:
    adaptation = Adaptation(small_learner())
    told = []
    for seed in range(DISTANCE_EVERY + 2):
        figures = learn(adaptation, adaptation.answer(taps_of(adaptation, seed), PLAIN))
        assert figures is not None
        told.append("teacher_source_distance" in figures)
    assert [index for index, is_told in enumerate(told) if is_told] == [0, DISTANCE_EVERY]


def test_features_that_all_lie_off_the_source_by_one_offset_come_back_to_what_they_were() -> None:
    adaptation = held(remember=False)
    sidecar = adaptation._sidecar.teacher
    offset = 4 * draw(CHANNELS, seed=3)
    assert adaptation.tracker is not None
    errors = []
    for index in range(60):
        with torch.no_grad():
            pooled: Tensor = sidecar(taps_of(adaptation, index)).pooled
        shifted = (pooled + offset).numpy()
        keys, found = adaptation.tracker.recognise(shifted[:, 0])
        corrected, seen = adaptation.tracker.correct(shifted, keys, found, PLAIN)
        adaptation.tracker.learn(seen, never)
        errors.append(float(np.abs(corrected - pooled.numpy()).mean()))
    assert np.mean(errors[-10:]) < 0.3 * errors[0]
