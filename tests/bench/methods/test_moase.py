"""MoASE as published, in the whole network and on the split, and the shipped default."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from moase_edge.adapt.learner import Learner
from moase_edge.bench.methods import build_method
from moase_edge.bench.methods.full_network import PUBLISHED, FullNetworkMethod, build_official, build_paper
from moase_edge.bench.methods.split_learner import PARTS, build_edge, build_part, build_published, part_settings
from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import (
    CLASSES,
    DEPTH,
    changed,
    frames,
    run,
    tiny_backbone,
    tiny_subject,
    weights_of,
)


def test_the_paper_starts_as_the_source_model_and_the_authors_code_does_not() -> None:
    subject, images = tiny_subject(), frames(3)
    with torch.no_grad():
        source = subject.network()(torch.from_numpy(images)).numpy()
    assert np.allclose(build_paper(subject, 0).predict(images, Stages()).logits, source, atol=1e-5)
    assert not np.allclose(build_official(subject, 0).predict(images, Stages()).logits, source, atol=1e-3)


def test_the_teacher_answers_from_before_the_update() -> None:
    method, images = build_official(tiny_subject(), 0), frames(3)
    first = method.predict(images, Stages())
    answered = first.logits.copy()
    method.learn(first)
    assert np.array_equal(first.logits, answered)
    assert not np.array_equal(method.predict(images, Stages()).logits, answered)


def test_an_adapter_sits_in_every_block_and_every_weight_learns() -> None:
    method = build_official(tiny_subject(), 0)
    before = weights_of(method.student)
    # Without restore, which would set single weights back.
    method._settings = method._settings.model_copy(update={"restore_probability": 0.0})
    run(method, frames(4))
    moved = changed(before, method.student)
    assert {name.split(".")[1] for name in moved if ".moase." in name} == {str(block) for block in range(DEPTH)}
    # The sparsity gate only cuts an integer and gets no gradient.
    still = {name for name in before if name not in moved and not name.endswith(("quantiles", "rank_signs"))}
    assert still == {f"blocks.{b}.moase.asg.{name}" for b in range(DEPTH) for name in ("weight", "bias")}


def test_student_and_teacher_agree_at_the_start_so_the_loss_is_the_teachers_entropy() -> None:
    method, images = build_paper(tiny_subject(), 0), frames(3)
    prediction, update = run(method, images)
    p = F.softmax(torch.from_numpy(prediction.logits), dim=1)
    assert update is not None
    assert update["loss"] == pytest.approx(float(-(p * p.log()).sum(dim=1).mean()), rel=1e-4)


def test_a_step_that_is_not_finite_is_counted() -> None:
    network = tiny_subject().network()
    network.head.bias.fill_(float("nan"))  # type: ignore[union-attr,operator]
    method = FullNetworkMethod(network, PUBLISHED["paper"], ADAPT_PRESETS["paper"])
    assert run(method, frames(2))[1] is None
    assert method.failures == {"non-finite loss": 1}


def learner_of(method: SplitMethod) -> Learner:
    learner = method._adaptation._learner
    assert learner is not None
    return learner


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_on_the_split_the_adapter_looks_at_all_tokens(preset: str) -> None:
    method = build_published(tiny_subject(), 0, preset=preset)  # type: ignore[arg-type]
    assert learner_of(method).student.spec.tap_tokens == 5  # 4 patches and the class token
    prediction, update = run(method, frames(2))
    assert update is not None
    assert method.failures == {}
    assert prediction.logits.shape == (2, CLASSES)


def test_the_shipped_method_takes_the_subjects_settings_and_the_seed() -> None:
    backbone = tiny_backbone()
    adapt = AdaptSettings(objectives={"consistency": 1.0}, lr=0.02, seed=77)
    subject = Subject.in_torch(backbone, moase=MoaseSettings(experts=2, rank=8), adapt=adapt)
    learner = learner_of(build_edge(subject, 5))
    assert learner._optimizer.param_groups[0]["lr"] == 0.02
    assert learner._seed == 5
    assert learner.student.adapters[0].experts.count == 2  # type: ignore[union-attr]


def test_the_shipped_method_reads_one_token_and_starts_as_the_frozen_model() -> None:
    method = build_method("edge", tiny_subject(), 0)
    prediction = method.predict(frames(3), Stages())
    assert prediction.frozen_logits is not None
    assert np.allclose(prediction.logits, prediction.frozen_logits, atol=1e-5)
    assert method.learn(prediction) is not None


def test_the_shipped_method_trains_no_weight_and_a_part_that_learns_does() -> None:
    subject = tiny_subject()
    assert build_edge(subject, 0)._adaptation._learner is None
    assert build_edge(subject, 0)._adaptation.tracker is not None
    learning = build_part(subject, 0, name="edge-learn")
    assert learning._adaptation.tracker is None
    _, update = run(learning, frames(3))
    assert update is not None
    assert update["loss"] > 0


def test_the_shipped_method_without_source_images_gives_the_frozen_answer_and_learns_nothing() -> None:
    method = build_edge(tiny_subject(sources=0), 0)
    prediction, update = run(method, frames(3))
    assert prediction.frozen_logits is not None
    assert np.allclose(prediction.logits, prediction.frozen_logits, atol=1e-5)
    assert update is None


@pytest.mark.parametrize("name", PARTS)
def test_each_part_changes_what_it_names_and_nothing_else(name: str) -> None:
    part, shipped = part_settings(name), ADAPT_PRESETS["edge"]
    changed_track = {key for key, value in part.track if value != getattr(shipped.track, key)}
    assert changed_track <= {"recentre", "remember", "steer"}
    assert (part.guard, part.referee, part.drift) == (shipped.guard, shipped.referee, shipped.drift)
    assert bool(part.objectives) == (name in ("edge-learn", "edge-both", "edge-all"))


def aligning(sources: int) -> Subject:
    images = frames(sources, seed=99) if sources else None
    adapt = AdaptSettings(objectives={"alignment": 1.0}, view="same")
    return Subject.in_torch(tiny_backbone(), adapt=adapt, source_images=images)


def test_alignment_is_with_the_moments_of_the_subjects_source_images() -> None:
    subject = aligning(20)
    method, images = build_edge(subject, 0), frames(4)
    with torch.no_grad():
        network = subject.network()
        source, seen = (
            network.forward_head(network.forward_features(torch.from_numpy(x)), pre_logits=True)
            for x in (frames(20, seed=99), images)
        )
    unit = source.std(0, correction=0)
    off = (seen.mean(0) - source.mean(0)) / unit, (seen.std(0, correction=0) - unit) / unit
    _, update = run(method, images)
    assert update is not None
    assert update["loss"] == pytest.approx(sum(float(part.square().mean()) for part in off), rel=1e-3)


def test_alignment_without_source_images_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="alignment needs pictures of the source domain"):
        build_edge(aligning(0), 0)


def test_the_whole_network_has_no_source_moments() -> None:
    settings = ADAPT_PRESETS["paper"].model_copy(update={"objectives": {"alignment": 1.0}})
    with pytest.raises(ConfigError, match="alignment needs the mean and spread"):
        FullNetworkMethod(tiny_subject().network(), PUBLISHED["paper"], settings)
