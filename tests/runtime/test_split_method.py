"""The split model as a method: what it answers and learns when a part of it fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.adapt.adaptation import DISTANCE_EVERY, Adaptation
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Sidecar
from moase_edge.artifact.specs import SidecarSpec
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import AdaptationError, EngineError
from moase_edge.runtime.frozen import FrozenMethod
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.stages import Stages
from tests.runtime.split_parts import ADAPTED, CHANNELS, CLASSES, FROZEN, IMAGES, FakeEngine, FakeLearner, split


def test_the_adapted_answer_comes_with_the_frozen_one_beside_it() -> None:
    method = split(FakeEngine(FROZEN), FakeLearner(ADAPTED))
    stages = Stages()
    prediction = method.predict(IMAGES, stages)
    assert prediction.logits.tolist() == ADAPTED
    assert prediction.frozen_logits is not None
    assert prediction.frozen_logits.tolist() == FROZEN
    assert prediction.adapted.tolist() == [True, True]
    assert list(stages.durations_ms) == ["engine", "sidecar"]
    assert method.failures == {}


def test_it_learns_from_the_taps_and_the_answer_of_the_same_batch() -> None:
    engine, learner = FakeEngine(FROZEN), FakeLearner(ADAPTED)
    method = split(engine, learner)
    update = method.learn(method.predict(IMAGES, Stages()))
    assert update is not None
    assert (update["loss"], update["proximal"], update["grad_norm"]) == (1.0, 0.5, 2.0)
    ((taps, teacher),) = learner.learned
    assert taps.mid.numpy().tolist() == engine.outputs["mid"].tolist()
    assert taps.out.numpy().tolist() == engine.outputs["out"].tolist()
    assert teacher.logits.tolist() == ADAPTED


def test_distances_are_measured_at_the_first_update_and_then_each_tenth() -> None:
    late = Guard(window=4096, warm_up=4096)  # a rollback would set the count of updates back
    method = SplitMethod(FakeEngine(FROZEN), Adaptation(FakeLearner(ADAPTED), guard=late))  # type: ignore[arg-type]
    updates = [method.learn(method.predict(IMAGES, Stages())) for _ in range(2 * DISTANCE_EVERY + 1)]
    measured = [number for number, update in enumerate(updates) if update and "teacher_source_distance" in update]
    assert measured == [0, DISTANCE_EVERY, 2 * DISTANCE_EVERY]


@pytest.mark.parametrize(
    "failure", [RuntimeError("bad shape"), MemoryError(), AdaptationError("not finite"), ZeroDivisionError()]
)
def test_a_learner_that_raises_leaves_the_frozen_answers(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    learner = FakeLearner(ADAPTED, learning=failure)
    method = split(FakeEngine(FROZEN), learner)
    assert method.learn(method.predict(IMAGES, Stages())) is None
    for _ in range(3):
        prediction = method.predict(IMAGES, Stages())
        assert prediction.logits.tolist() == FROZEN
        assert prediction.adapted.tolist() == [False, False]
        assert method.learn(prediction) is None
    assert method.failures == {f"learner: {type(failure).__name__}": 1}
    assert learner.predictions == 1
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "goes on with the frozen model" in warnings[0].getMessage()


def test_what_failed_in_one_run_is_tried_again_in_the_next_one() -> None:
    learner = FakeLearner(ADAPTED, learning=RuntimeError())
    method = split(FakeEngine(FROZEN), learner)
    method.learn(method.predict(IMAGES, Stages()))
    assert not method.predict(IMAGES, Stages()).adapted.any()
    method.start_run()
    assert method.predict(IMAGES, Stages()).adapted.all()


def test_a_batch_that_was_answered_before_the_learner_failed_is_not_learned_from() -> None:
    learner = FakeLearner(ADAPTED, learning=RuntimeError())
    method = split(FakeEngine(FROZEN), learner)
    earlier, later = (method.predict(IMAGES, Stages()) for _ in range(2))
    assert method.learn(earlier) is None
    assert method.learn(later) is None
    assert sum(method.failures.values()) == 1


@pytest.mark.parametrize("failure", [RuntimeError("no memory"), MemoryError(), ValueError()])
def test_a_sidecar_that_raises_leaves_the_frozen_answers(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    method = split(FakeEngine(FROZEN), FakeLearner(ADAPTED, predicting=failure))
    for _ in range(3):
        prediction = method.predict(IMAGES, Stages())
        assert prediction.logits.tolist() == FROZEN
        assert not prediction.adapted.any()
        assert method.learn(prediction) is None
    assert method.failures == {f"sidecar: {type(failure).__name__}": 1}
    assert len(caplog.records) == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_adapted_answer_that_is_not_finite_is_replaced_row_by_row(
    wrong: float, caplog: pytest.LogCaptureFixture
) -> None:
    learner = FakeLearner([[0.0, wrong, 5.0], [0.0, 5.0, 0.0]])
    method = split(FakeEngine(FROZEN), learner)
    prediction = method.predict(IMAGES, Stages())
    assert prediction.logits.tolist() == [FROZEN[0], ADAPTED[1]]
    assert prediction.adapted.tolist() == [False, True]
    assert method.learn(prediction) is None
    method.predict(IMAGES, Stages())
    assert learner.learned == []
    assert method.failures == {"non-finite answer": 2}
    assert len(caplog.records) == 1


def test_learning_goes_on_after_an_answer_that_was_not_finite() -> None:
    learner = FakeLearner([[np.nan] * 3, [0.0, 5.0, 0.0]])
    method = split(FakeEngine(FROZEN), learner)
    assert method.learn(method.predict(IMAGES, Stages())) is None
    learner._logits = torch.tensor(ADAPTED)
    assert method.learn(method.predict(IMAGES, Stages())) is not None


def test_an_engine_that_fails_is_an_error_because_there_is_no_answer() -> None:
    method = split(FakeEngine(FROZEN, EngineError("the engine failed")), FakeLearner(ADAPTED))
    with pytest.raises(EngineError, match="the engine failed"):
        method.predict(IMAGES, Stages())


def test_it_cannot_learn_from_another_method_s_prediction() -> None:
    engine = FakeEngine(FROZEN)
    prediction = FrozenMethod(engine).predict(IMAGES, Stages())
    assert split(engine, FakeLearner(ADAPTED)).learn(prediction) is None


def test_closing_releases_the_engine() -> None:
    engine = FakeEngine(FROZEN)
    split(engine, FakeLearner(ADAPTED)).close()
    assert engine.closed


def test_the_frozen_method_answers_with_the_engine_s_logits_and_never_learns() -> None:
    engine = FakeEngine(FROZEN)
    method = FrozenMethod(engine)
    stages = Stages()
    prediction = method.predict(IMAGES, stages)
    assert prediction.logits.tolist() == FROZEN
    assert prediction.adapted.tolist() == [False, False]
    assert method.learn(prediction) is None
    assert list(stages.durations_ms) == ["engine"]
    method.close()
    assert engine.closed


def test_a_real_learner_moves_only_by_learning() -> None:
    method = split(FakeEngine(FROZEN), learner := Learner(tiny_sidecar(), lr=1e-2))
    first = method.predict(IMAGES, Stages()).logits.copy()
    assert np.array_equal(method.predict(IMAGES, Stages()).logits, first)
    for _ in range(20):
        assert method.learn(method.predict(IMAGES, Stages())) is not None
    assert learner.updates == 20
    assert not np.array_equal(method.predict(IMAGES, Stages()).logits, first)


class WatchedEngine(FakeEngine):
    """Remembers what it ran; the first channel of its taps carries a pixel of each frame."""

    def __init__(self) -> None:
        super().__init__(FROZEN)
        self.seen: list[NDArray[np.float32]] = []

    def run(self, images: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        self.seen.append(images.copy())
        outputs = {name: array.copy() for name, array in self.outputs.items()}
        for name in ("mid", "out"):
            outputs[name][:, 0, 0] += images[:, 0, 0, 0]
        return outputs


@pytest.mark.parametrize("policy", ["fixed", "learned"])
def test_augmented_frames_take_one_more_engine_run_an_update_and_none_an_answer(policy: str) -> None:
    engine = WatchedEngine()
    learner = Learner(tiny_sidecar(), view="augmented-frame", view_strength=0.9, augment_policy=policy)
    method = split(engine, learner)
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)
    given = images.copy()
    prediction = method.predict(images, Stages())
    assert len(engine.seen) == 1
    update = method.learn(prediction)
    assert update is not None
    assert len(engine.seen) == 2
    assert np.array_equal(engine.seen[0], given)
    assert engine.seen[1].shape == given.shape
    assert not np.allclose(engine.seen[1], given, atol=1e-2)
    assert np.array_equal(images, given)
    assert update["grad_norm"] > 1e-4  # with the frames as they are it would be 0


def test_an_engine_that_fails_on_augmented_frames_leaves_the_frozen_answers() -> None:
    engine = FakeEngine(FROZEN)
    method = split(engine, Learner(tiny_sidecar(), view="augmented-frame"))
    prediction = method.predict(IMAGES, Stages())
    engine._failure = EngineError("the engine failed")
    assert method.learn(prediction) is None
    assert method.failures == {"learner: EngineError": 1}


def tiny_sidecar() -> Sidecar:
    """An adapter, a norm and a head over one token of 8 channels."""
    spec = SidecarSpec(
        channels=CHANNELS,
        tokens=4,
        tap_tokens=1,
        read_tokens=1,
        prefix_tokens=1,
        depth=2,
        adapt_blocks=1,
        heads=2,
        head_width=4,
        hidden=16,
        activation="gelu",
        norm_eps=1e-6,
        layer_scale=False,
        qkv_bias=True,
        proj_bias=True,
        final_norm=True,
        fc_norm=False,
        pooling="token",
        pool_prefix=False,
        attention_pool=None,
        distilled=False,
        classes=CLASSES,
        head_bias=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Sidecar(spec, MoaseSettings(rank=8), generator=torch.Generator().manual_seed(0)).eval()
