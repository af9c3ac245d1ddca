"""How the sidecar learns and who answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.moase.adapter import experts_of
from tests.adapt.backbones import random_taps, sidecar_of, small_vit
from tests.adapt.learners import (
    BUSY,
    assert_same_state,
    assert_same_weights,
    flattened,
    follow,
    small_learner,
    weights,
)


@torch.no_grad()
def frozen_answer(sidecar: Sidecar, taps: Taps) -> Tensor:
    """The sidecar's answer with no adapter in it at all."""
    x = taps.out
    for index, block in enumerate(sidecar.blocks, start=1):
        queries = sidecar.spec.read_tokens if index == len(sidecar.blocks) else x.shape[1]
        x = block(x, torch.zeros_like, queries)
    return sidecar.finish(sidecar.norm(x[:, : sidecar.spec.read_tokens])).logits


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_unadapted_answer_is_the_frozen_one_bit_for_bit(blocks: int) -> None:
    learner = small_learner(blocks)
    taps = random_taps(learner.student)
    assert torch.equal(learner.predict(taps).logits, frozen_answer(learner.student, taps))


def test_answer_is_the_teachers_and_carries_no_gradient() -> None:
    learner = small_learner(lr=1e-2, alpha=0.9)
    taps = random_taps(learner.student)
    follow(learner, 5)
    answer = learner.predict(taps)
    assert torch.equal(answer.logits, learner.teacher(taps).logits)
    assert not torch.equal(answer.logits, learner.student(taps).logits)
    assert not answer.logits.requires_grad
    assert not answer.features.requires_grad


def test_same_view_gives_no_signal_at_the_start() -> None:
    (report,) = follow(small_learner(view="same"), 1)
    assert report.grad_norm < 1e-6
    assert report.proximal == 0


@pytest.mark.parametrize("view", ["channel-dropout", "feature-noise"])
def test_another_view_gives_a_signal_and_moves_the_student_ahead_of_the_teacher(view: str) -> None:
    learner = small_learner(view=view, view_strength=0.2, alpha=0.99)
    assert learner.distance().student_teacher == learner.distance().teacher_source == 0
    (report,) = follow(learner, 1)
    assert report.grad_norm > 1e-2
    distance = learner.distance()
    assert distance.teacher_source == pytest.approx(distance.student_teacher / 99, rel=1e-3)
    assert distance.student_teacher > 1e-4


def test_distances_by_hand() -> None:
    learner = small_learner()
    with torch.no_grad():
        learner.student.get_parameter("adapters.0.asg.bias")[:2] = torch.tensor([3.0, 4.0])
        learner.teacher.get_parameter("adapters.0.asg.bias")[0] = 3.0
    assert learner.distance().student_teacher == pytest.approx(4)
    assert learner.distance().teacher_source == pytest.approx(3)


PREFIXES = {"adapter": ("adapters.",), "norm": ("norm.", "fc_norm."), "head": ("head.", "head_dist.")}


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("train", [("adapter",), ("norm",), ("head",), ("adapter", "norm", "head")])
def test_named_parts_learn_and_everything_else_stays(train: tuple[str, ...], blocks: int) -> None:
    learner = small_learner(blocks, perturbed=True, train=train, alpha=0.9)
    before = weights(learner)
    follow(learner, 3)
    prefixes = tuple(prefix for part in train for prefix in PREFIXES[part])
    for name, weight in weights(learner).items():
        expected = name.split(".", 1)[1].startswith(prefixes)
        assert (not torch.equal(weight, before[name])) == expected, name


def test_both_heads_of_a_distilled_model_learn() -> None:
    learner = Learner(sidecar_of(small_vit(distilled=True)), train=("head",))
    before = weights(learner)
    follow(learner, 1)
    changed = {name for name, weight in weights(learner).items() if not torch.equal(weight, before[name])}
    assert {name for name in changed if name.startswith("student")} == {
        f"student.{head}.{kind}" for head in ("head", "head_dist") for kind in ("weight", "bias")
    }


def test_frozen_tail_exists_once_and_trained_weights_three_times() -> None:
    learner = small_learner(2)
    sides = (learner.student, learner.teacher, learner.source)
    for name, _ in learner.student.named_parameters():
        places = {sidecar.get_parameter(name).data_ptr() for sidecar in sides}
        assert len(places) == (3 if name.startswith("adapters.") else 1), name


def test_learner_freezes_what_it_is_not_told_to_train() -> None:
    reference = sidecar_of(small_vit(), 2)
    trainable = Sidecar(reference.spec, MoaseSettings(rank=8), generator=torch.Generator().manual_seed(0))
    assert all(weight.requires_grad for weight in trainable.parameters())
    learner = Learner(trainable, train=("head",))
    learned = {name for name, weight in learner.student.named_parameters() if weight.requires_grad}
    assert learned == {"head.weight", "head.bias"}


def test_source_pull_grows_with_distance_and_teacher_pull_sees_the_teacher() -> None:
    # With alpha = 0 the teacher is the student after every step, so only the source is ever away.
    options: dict[str, Any] = {"alpha": 0.0, "lr": 1e-2, "proximal_weight": 2.0}
    toward_source = small_learner(proximal_anchor="source", **options)
    toward_teacher = small_learner(proximal_anchor="teacher", **options)
    assert [report.proximal for report in follow(toward_teacher, 3)] == [0, 0, 0]
    (first,) = follow(toward_source, 1)
    (moved,), (origin,) = experts_of(toward_source.student), experts_of(toward_source.source)
    squared = sum(
        (weight.detach() - original).square().sum().item()
        for weight, original in zip(moved.parameters(), origin.parameters(), strict=True)
    )
    (second,) = follow(toward_source, 1, first=1)
    assert first.proximal == 0
    assert second.proximal == pytest.approx(2.0 * 0.5 * squared, rel=1e-4)


@pytest.mark.parametrize("options", [{"proximal": "none"}, {"proximal_weight": 0.0}])
def test_no_pull_where_there_is_no_form_or_no_weight(options: dict[str, Any]) -> None:
    assert [report.proximal for report in follow(small_learner(lr=1e-2, **options), 2)] == [0, 0]


def test_restore_of_every_weight_puts_the_student_back_after_the_teacher_has_moved() -> None:
    learner = small_learner(restore_probability=1.0, alpha=0.5)
    follow(learner, 1)
    for name, weight in learner.student.named_parameters():
        assert torch.equal(weight, learner.source.get_parameter(name))
    assert learner.distance().teacher_source > 0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_taps_that_are_not_finite_raise_and_change_nothing(broken: float) -> None:
    learner = small_learner(**BUSY)
    follow(learner, 3)
    before, before_weights = flattened(learner.snapshot()), weights(learner)
    taps = random_taps(learner.student)
    taps.out[0, 0, 3] = broken
    with pytest.raises(AdaptationError):
        learner.learn(taps, learner.predict(taps))
    assert_same_state(flattened(learner.snapshot()), before)
    assert_same_weights(weights(learner), before_weights)


def test_answer_that_is_not_finite_raises_and_the_learner_goes_on_as_if_it_had_not_been() -> None:
    disturbed, undisturbed = small_learner(**BUSY), small_learner(**BUSY)
    taps = random_taps(disturbed.student)
    answer = disturbed.predict(taps)
    answer.logits[0] = math.nan
    with pytest.raises(AdaptationError):
        disturbed.learn(taps, answer)
    assert follow(disturbed, 3) == follow(undisturbed, 3)


def test_learners_with_one_seed_agree_bit_for_bit_and_with_another_differ() -> None:
    first, second, other = (small_learner(**BUSY, seed=seed) for seed in (3, 3, 4))
    assert follow(first, 4) == follow(second, 4) != follow(other, 4)
    assert_same_weights(weights(first), weights(second))


def test_global_generator_is_left_as_it_was() -> None:
    learner = small_learner(**BUSY)
    before = torch.get_rng_state()
    follow(learner, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_is_learned_from_as_one_update() -> None:
    learner = small_learner()
    taps = random_taps(learner.student, batch=7)
    learner.learn(taps, learner.predict(taps))
    assert learner.updates == 1


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing to train.*no weights in head"):
        Learner(sidecar_of(small_vit(num_classes=0)), train=("head",))
    with pytest.raises(ConfigError, match="nothing to train"):
        small_learner(train=())


def test_nothing_to_minimise_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing to minimise.*consistency"):
        small_learner(objectives={})


@pytest.mark.parametrize(
    ("option", "right"),
    [
        ({"train": ("adaptor",)}, "adapter, norm, head"),
        ({"objectives": {"entropi": 1.0}}, "consistency"),
        ({"view": "blur"}, "same, channel-dropout, feature-noise"),
        ({"proximal": "cubed"}, "none, squared, expert-norm, tensor-norm"),
        ({"proximal_anchor": "student"}, "source, teacher"),
    ],
)
def test_unknown_name_is_refused_with_the_right_ones(option: dict[str, Any], right: str) -> None:
    with pytest.raises(ConfigError, match=right):
        small_learner(**option)
