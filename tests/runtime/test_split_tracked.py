"""The split model as a method over an engine that is steered, and under a guard that alarms."""

from __future__ import annotations

import numpy as np

from moase_edge.adapt.adaptation import Adaptation
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.referee import Referee
from moase_edge.errors import EngineError
from moase_edge.runtime.frozen import FrozenMethod
from moase_edge.runtime.method import Counting, counts_of
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.stages import Stages
from tests.runtime.split_parts import ADAPTED, FROZEN, IMAGES, FakeEngine, FakeLearner
from tests.runtime.steered import Images, KnownTracker, SteerableEngine, images


def steered_split(engine: SteerableEngine, learner: FakeLearner) -> SplitMethod:
    """Over an engine that is steered for frames of domains 1 and 2."""
    return SplitMethod(engine, Adaptation(learner, tracker=KnownTracker(latest=1)))  # type: ignore[arg-type]


def test_of_a_frame_that_was_steered_the_frozen_answer_is_not_known() -> None:
    engine = SteerableEngine()
    prediction = steered_split(engine, FakeLearner([[0.0, 9.0]] * 2)).predict(images(1, 0), Stages())
    assert prediction.frozen_logits is not None
    assert np.isnan(prediction.frozen_logits[0]).all()
    assert prediction.frozen_logits[1].tolist() == [0.0, 0.0]
    assert prediction.frozen_known.tolist() == [False, True]
    assert prediction.adapted.tolist() == [True, True]


def test_a_sidecar_that_fails_after_a_steered_run_has_the_frozen_model_asked_again() -> None:
    engine = SteerableEngine()
    method = steered_split(engine, FakeLearner([[0.0, 9.0]], predicting=RuntimeError()))
    prediction = method.predict(images(1), Stages())
    assert engine.runs == [([1.0], [10.0]), ([1.0], None)]
    assert prediction.logits.tolist() == [[1.0, 1.0]]
    assert prediction.frozen_known.tolist() == [True]
    assert not prediction.adapted.any()
    method.predict(images(1), Stages())
    assert engine.runs[2:] == [([1.0], None)]  # nothing is steered from then on


def test_a_sidecar_that_fails_after_a_plain_run_costs_no_second_one() -> None:
    engine = SteerableEngine()
    method = steered_split(engine, FakeLearner([[0.0, 9.0]], predicting=RuntimeError()))
    assert method.predict(images(0), Stages()).logits.tolist() == [[0.0, 0.0]]
    assert engine.runs == [([0.0], [10.0]), ([0.0], None)]  # the second is that of another domain than expected


def test_a_steered_answer_that_is_not_finite_is_replaced_by_what_the_frozen_model_says() -> None:
    engine = SteerableEngine()
    method = steered_split(engine, FakeLearner([[np.nan, 0.0], [0.0, 9.0]]))
    prediction = method.predict(images(1, 1), Stages())
    assert prediction.logits.tolist() == [[1.0, 1.0], [0.0, 9.0]]
    assert prediction.adapted.tolist() == [False, True]
    assert prediction.frozen_known.tolist() == [True, True]


def watched(learner: FakeLearner) -> SplitMethod:
    """Alarms after every update: the weights are 4 from the source, and 1 is allowed."""
    referee = Referee(hold_off=4, max_hold_off=8)
    adaptation = Adaptation(learner, guard=Guard(max_distance=1.0), referee=referee)  # type: ignore[arg-type]
    return SplitMethod(FakeEngine(FROZEN), adaptation)


def test_where_rolling_back_does_not_help_the_frozen_model_answers_until_the_hold_off_is_over() -> None:
    learner = FakeLearner(ADAPTED)
    method = watched(learner)
    for rollbacks in (1, 2):
        prediction = method.predict(IMAGES, Stages())
        assert prediction.adapted.all()
        assert method.learn(prediction) is not None
        assert method.rollbacks == rollbacks
    for _ in range(2):  # batches of two frames: a hold-off of four
        prediction = method.predict(IMAGES, Stages())
        assert prediction.logits.tolist() == FROZEN
        assert not prediction.adapted.any()
        assert prediction.frozen_known.all()
        assert method.learn(prediction) is None
    assert len(learner.learned) == learner.predictions == 2
    assert method.predict(IMAGES, Stages()).logits.tolist() == ADAPTED
    assert method.failures == {}


def test_frames_of_batches_that_are_not_learned_from_count_toward_the_end_of_the_hold_off() -> None:
    method = watched(FakeLearner(ADAPTED))
    for _ in range(2):
        method.learn(method.predict(IMAGES, Stages()))
    method.predict(IMAGES, Stages())
    method.learn(method.predict(IMAGES, Stages()))  # four frames by now, as the hold-off asks for
    assert method.predict(IMAGES, Stages()).adapted.all()
    assert counts_of(method)["frames_frozen"] == 4


class Looking(Adaptation):
    """Not trusted; fails, or finds a content in each batch."""

    failure: Exception | None = None
    trusted = False  # type: ignore[assignment]

    def contents(self, *_: object) -> int:
        if self.failure is not None:
            raise self.failure
        return 1


def test_only_new_content_counts_toward_the_end_of_the_hold_off() -> None:
    method = SplitMethod(FakeEngine(FROZEN), adaptation := Looking(FakeLearner(ADAPTED)))  # type: ignore[arg-type]
    waited: list[int] = []
    adaptation.wait = waited.append  # type: ignore[method-assign]
    method.predict(IMAGES, Stages())
    method.learn(method.predict(IMAGES, Stages()))
    method.learn(method.predict(IMAGES, Stages()))
    assert waited == [2, 1]


def test_what_fails_to_look_at_a_frozen_answer_does_not_stop_it() -> None:
    method = SplitMethod(FakeEngine(FROZEN), adaptation := Looking(FakeLearner(ADAPTED)))  # type: ignore[arg-type]
    adaptation.failure = RuntimeError("no memory")
    assert method.predict(IMAGES, Stages()).logits.tolist() == FROZEN
    assert method.failures == {"tracked run: RuntimeError": 1}


def test_frames_answered_frozen_that_nobody_learns_from_bring_no_trust_back() -> None:
    method = watched(FakeLearner(ADAPTED))
    for _ in range(2):
        method.learn(method.predict(IMAGES, Stages()))
    assert not any(method.predict(IMAGES, Stages()).adapted.any() for _ in range(5))


def test_what_guard_and_tracker_did_is_counted() -> None:
    method = watched(FakeLearner(ADAPTED))
    for _ in range(4):
        method.learn(method.predict(IMAGES, Stages()))
    assert isinstance(method, Counting)
    assert {name: number for name, number in counts_of(method).items() if not name.startswith("alarm")} == {
        "rollbacks": 1,
        "freezes": 1,
        "retries": 1,
        "snapshots": 0,
        "frames_frozen": 4,
    }
    assert [number for name, number in counts_of(method).items() if name.startswith("alarm")] == [2]
    tracking = steered_split(SteerableEngine(), FakeLearner([[0.0, 9.0]]))
    assert counts_of(tracking)["domains_found"] == 2
    assert counts_of(FrozenMethod(FakeEngine(FROZEN))) == {}


class RefusingShifts(SteerableEngine):
    """An engine that fails whenever it is steered, as one of another batch size or precision may."""

    def run(self, batch: Images, shift: Images | None = None) -> dict[str, Images]:
        if shift is not None:
            raise EngineError("no shift of this size")
        return super().run(batch)


def test_a_steered_run_that_fails_leaves_the_frozen_answers() -> None:
    method = steered_split(RefusingShifts(), FakeLearner([[0.0, 9.0]]))
    prediction = method.predict(images(1), Stages())
    assert prediction.logits.tolist() == [[1.0, 1.0]]
    assert not prediction.adapted.any()
    assert method.failures == {"tracked run: EngineError": 1}


class Overflowing(SteerableEngine):
    """Where it is steered, the first row's taps are not finite."""

    def run(self, batch: Images, shift: Images | None = None) -> dict[str, Images]:
        outputs = super().run(batch, shift)
        if shift is not None:
            outputs["mid"] = np.full_like(outputs["mid"], np.inf)
        return outputs


def test_taps_that_overflow_are_answered_frozen_and_make_the_guard_roll_back() -> None:
    method = steered_split(Overflowing(), FakeLearner([[0.0, 9.0]]))
    prediction = method.predict(images(1), Stages())
    assert prediction.logits.tolist() == [[1.0, 1.0]]
    assert not prediction.adapted.any()
    assert method.failures == {"non-finite answer": 1}
    assert method.learn(prediction) is None
    assert method.rollbacks == 1
    assert method.failures == {"non-finite answer": 1}
