"""Augmented frames as the student's view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.adapt import augmented
from moase_edge.adapt.augmented import AugmentedFrames, Rerun, augmented_frames
from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Taps
from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.moase.augment_frames import Strengths, augment_frames
from moase_edge.moase.objectives import Views, reverse_kl
from moase_edge.moase.policy import STRENGTH_PENALTY, Action, AugmentPolicy
from moase_edge.moase.step import StepReport
from tests.adapt.backbones import CHANNELS
from tests.adapt.learners import assert_same_state, assert_same_weights, flattened, small_learner, weights

FRAMES = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)
ANSWER = torch.tensor([[0.0, 1.0, 2.0], [0.5, 0.0, 0.0]])


class Engine:
    """Taps that are a fixed random projection of the frames; remembers what it ran."""

    def __init__(self) -> None:
        self.seen: list[NDArray[np.float32]] = []
        size = FRAMES[0].size
        self._project = np.random.default_rng(1).standard_normal((size, CHANNELS), dtype=np.float32) / size**0.5

    def __call__(self, frames: NDArray[np.float32]) -> Taps:
        self.seen.append(frames.copy())
        tap = torch.from_numpy(frames.reshape(len(frames), -1) @ self._project)[:, None]
        return Taps(mid=tap, out=2 * tap)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(policy: str = "learned", **options: Any) -> Learner:
    view = {"view": "augmented-frame", "view_strength": 0.8, "augment_policy": policy}
    return small_learner(**{**view, "objectives": {"reverse-kl": 1.0}, **options})


def follow(one: Learner, steps: int, first: int = 0) -> list[StepReport]:
    """Answer and learn a seeded stream of batches."""
    engine, reports = Engine(), []
    for seed in range(first, first + steps):
        frames = np.random.default_rng(seed).standard_normal((2, 3, 8, 8), dtype=np.float32)
        taps = engine(frames)
        reports.append(one.learn(taps, one.predict(taps), rerun=Rerun(frames, engine)))
    return reports


def test_other_views_need_no_frames() -> None:
    assert augmented_frames("channel-dropout", 0.1, "fixed", seed=0) is None
    assert not small_learner().augments
    assert learner().augments


def test_the_fixed_policy_augments_with_the_bound() -> None:
    engine = Engine()
    AugmentedFrames(0.5, None).taps(Rerun(FRAMES, engine), ANSWER, generator(3))
    expected = augment_frames(torch.from_numpy(FRAMES), Strengths(0.5, 0.5, 0.5), generator(3))
    assert np.array_equal(engine.seen[0], expected.numpy())


def test_a_bound_of_zero_runs_the_frames_as_they_are() -> None:
    engine = Engine()
    AugmentedFrames(0.0, None).taps(Rerun(FRAMES, engine), ANSWER, generator())
    assert np.array_equal(engine.seen[0], FRAMES)


def test_the_learned_policy_goes_by_entropy_and_confidence_and_the_bound_scales_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, asked, used = AugmentPolicy(generator()), [], []

    def draw(entropy: float, confidence: float, _: torch.Generator) -> Action:
        asked.append((entropy, confidence))
        return Action(torch.zeros(2), torch.tensor([0.0, 100.0, -100.0]))

    def augment(frames: torch.Tensor, strengths: Strengths, _: torch.Generator) -> torch.Tensor:
        used.append(strengths)
        return frames

    monkeypatch.setattr(policy, "draw", draw)
    monkeypatch.setattr(augmented, "augment_frames", augment)
    AugmentedFrames(0.6, policy).taps(Rerun(FRAMES, Engine()), ANSWER, generator())
    p = ANSWER.softmax(-1)
    expected = (float(-(p * p.log()).sum(-1).mean()), float(p.amax(-1).mean()))
    assert asked[0] == pytest.approx(expected)
    assert used[0] == pytest.approx((0.3, 0.6, 0.0))


def test_the_policy_is_told_the_objective_and_the_strengths_it_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, told = AugmentPolicy(generator()), []
    monkeypatch.setattr(policy, "draw", lambda *_: Action(torch.zeros(2), torch.tensor([0.0, 100.0, -100.0])))
    monkeypatch.setattr(policy, "learn", lambda _, reward: told.append(reward))
    frames = AugmentedFrames(0.6, policy)
    frames.taps(Rerun(FRAMES, Engine()), ANSWER, generator())
    frames.learn(2.0)
    assert told == [pytest.approx(-2.0 - STRENGTH_PENALTY * (0.25 + 1.0) / 3)]


def test_the_student_sees_the_augmented_frames_and_the_teacher_answered_the_plain_ones() -> None:
    one, engine = learner("fixed", proximal="none"), Engine()
    taps = engine(FRAMES)
    teacher = one.predict(taps)
    report = one.learn(taps, teacher, rerun=Rerun(FRAMES, engine))
    fresh = learner("fixed")
    with torch.no_grad():
        student: Views = fresh.student(Engine()(engine.seen[1]))
    assert report.loss == pytest.approx(float(reverse_kl(student, teacher)), rel=1e-4)
    assert report.grad_norm > 1e-3


def test_an_update_without_frames_is_refused() -> None:
    one, engine = learner(), Engine()
    taps = engine(FRAMES)
    with pytest.raises(ConfigError, match="augmented-frame runs the engine"):
        one.learn(taps, one.predict(taps))
    assert one.updates == 0


def test_reset_and_restore_bring_the_policy_back() -> None:
    one = learner(lr=1e-3)
    begin = flattened(one.snapshot())
    first = follow(one, 4)
    state = one.snapshot()
    reached, baseline = flattened(state), state.policy.baseline if state.policy else None
    assert baseline
    later = follow(one, 4, first=4)
    one.restore(state)
    assert_same_state(flattened(one.snapshot()), reached)
    assert follow(one, 4, first=4) == later
    one.reset()
    assert_same_state(flattened(one.snapshot()), begin)
    assert follow(one, 4) == first


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    one, twin, engine = learner(), learner(), Engine()
    taps = engine(FRAMES)
    before = weights(one)
    broken = Rerun(
        FRAMES, lambda frames: Taps(mid=engine(frames).mid, out=torch.full_like(taps.out, float("nan")))
    )
    with pytest.raises(AdaptationError):
        one.learn(taps, one.predict(taps), rerun=broken)
    assert_same_weights(weights(one), before)
    assert follow(one, 3) == follow(twin, 3)
