"""What holds for every method: names, batches of any size, repetition, independence, cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moase_edge.bench.methods import METHODS, build_method, method_spec
from moase_edge.errors import ConfigError
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import answers, frames, run, tiny_subject, weights_of

# Vision transformers have no BatchNorm.
BUILDABLE = [name for name in METHODS if name != "batch-statistics"]
WHOLE = [name for name in BUILDABLE if METHODS[name].whole_network]
BATCHES = [frames(4, 1), frames(1, 2), frames(1, 3), frames(3, 4), frames(4, 5)]


def test_every_method_is_registered_under_its_own_name() -> None:
    assert [spec.name for spec in METHODS.values()] == list(METHODS)
    assert len(METHODS) == 24


def test_hyper_parameters_are_plain_json() -> None:
    for spec in METHODS.values():
        assert json.loads(json.dumps(dict(spec.hyper_parameters), allow_nan=False)) is not None


def test_an_unknown_name_lists_the_right_ones_and_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'cota'\. Did you mean cotta\? .*tent, tent-scaled, sar, eata"):
        method_spec("cota")
    with pytest.raises(ConfigError, match=r"'zzz'\. Methods: source"):
        method_spec("zzz")


def test_the_documentation_names_every_method() -> None:
    text = (Path(__file__).parents[3] / "docs" / "baselines.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", [name for name in BUILDABLE if METHODS[name].needs_source_images])
def test_what_needs_source_images_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} needs pictures of the source domain"):
        build_method(name, tiny_subject(sources=0), 0)


@pytest.mark.parametrize("name", [name for name in BUILDABLE if not METHODS[name].needs_source_images])
def test_the_others_are_built_without_source_images(name: str) -> None:
    assert build_method(name, tiny_subject(sources=0), 0).name == name


@pytest.mark.parametrize("name", BUILDABLE)
def test_batches_of_any_size_are_answered_with_finite_logits(name: str) -> None:
    method = build_method(name, tiny_subject(), 0)
    for batch in BATCHES:
        prediction, _ = run(method, batch)
        assert prediction.logits.shape == (len(batch), 5)
        assert prediction.logits.dtype == np.float32
        assert np.isfinite(prediction.logits).all()
        assert prediction.adapted.shape == (len(batch),)
    assert not method.failures


@pytest.mark.parametrize("name", BUILDABLE)
def test_the_same_seed_gives_the_same_answers_bit_for_bit(name: str) -> None:
    first, second = (answers(build_method(name, tiny_subject(), 3), BATCHES) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_methods_of_one_subject_share_no_state() -> None:
    alone = {name: answers(build_method(name, tiny_subject(), 0), BATCHES) for name in BUILDABLE}
    subject = tiny_subject()
    source = weights_of(subject.backbone.model)
    together = {name: build_method(name, subject, 0) for name in BUILDABLE}
    for index, batch in enumerate(BATCHES):
        for name, method in together.items():
            assert np.array_equal(run(method, batch)[0].logits, alone[name][index]), name
    assert all(torch.equal(source[key], value) for key, value in subject.backbone.model.state_dict().items())


def test_closing_one_method_leaves_the_engine_to_the_others() -> None:
    subject = tiny_subject()
    methods = [build_method(name, subject, 0) for name in BUILDABLE]
    for method in methods:
        method.close()
    for method in methods:
        assert len(method.predict(BATCHES[1], Stages()).logits) == 1


@pytest.mark.parametrize("name", BUILDABLE)
def test_answering_alone_changes_no_later_answer(name: str) -> None:
    method = build_method(name, tiny_subject(), 0)
    first = method.predict(BATCHES[0], Stages()).logits.copy()
    for batch in BATCHES:
        method.predict(batch, Stages())
    if name != "cotta":  # whose views are drawn anew
        assert np.array_equal(method.predict(BATCHES[0], Stages()).logits, first)


@dataclass
class Passes:
    """Frames that went forward, and back, through any copy of the network."""

    forward: int = 0
    backward: int = 0

    def count(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.forward += len(output)
        if output.requires_grad:
            output.register_hook(self.count_back)  # type: ignore[no-untyped-call]

    def count_back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)


def passes_of(name: str, batch: int, *, sure: float) -> tuple[Passes, dict[str, float]]:
    """What one batch takes, through every copy of the network that a fresh method holds."""
    method, passes = build_method(name, tiny_subject(sure=sure), 0), Passes()
    for part in vars(method).values():
        if isinstance(part, nn.Module) and isinstance(part.head, nn.Linear):
            part.head.register_forward_hook(passes.count)
    _, update = run(method, frames(batch))
    return passes, dict(update or {})


@pytest.mark.parametrize("name", ["tent", "tent-scaled"])
def test_tent_takes_one_pass_each_way(name: str) -> None:
    passes, _ = passes_of(name, 4, sure=1.0)
    assert (passes.forward, passes.backward) == (4, 4)


def test_eata_takes_one_pass_each_way() -> None:
    passes, update = passes_of("eata", 4, sure=20.0)
    assert (passes.forward, passes.backward) == (4, 4)
    assert update["chosen"] == update["reliable"]


def test_sar_takes_a_second_pass_each_way_on_reliable_frames() -> None:
    passes, update = passes_of("sar", 6, sure=0.5)
    assert 0 < update["reliable"] < 6
    assert passes.forward == passes.backward == 6 + update["reliable"]


def test_roid_takes_a_second_pass_each_way_on_kept_frames() -> None:
    passes, update = passes_of("roid", 6, sure=1.0)
    assert 0 < update["kept"] < 6
    assert passes.forward == passes.backward == 6 + update["kept"]


def test_cotta_takes_source_teacher_and_student_where_it_is_sure() -> None:
    passes, _ = passes_of("cotta", 4, sure=20.0)
    assert (passes.forward, passes.backward) == (12, 4)


def test_cotta_takes_thirty_two_passes_of_the_teacher_where_it_is_not() -> None:
    subject = tiny_subject(sure=0.01, sources=0)
    method = build_method("cotta", subject, 0)
    method._threshold = 0.5  # type: ignore[attr-defined]
    passes = Passes()
    for part in (method._source, method._teacher, method._student):  # type: ignore[attr-defined]
        part.head.register_forward_hook(passes.count)
    run(method, frames(2))
    assert (passes.forward, passes.backward) == (2 + 32 * 2 + 2, 2)


@pytest.mark.parametrize("name", ["official", "paper"])
def test_moase_takes_teacher_and_student(name: str) -> None:
    passes, _ = passes_of(name, 4, sure=1.0)
    assert (passes.forward, passes.backward) == (8, 4)


def test_moase_plus_plus_takes_both_twice() -> None:
    passes, _ = passes_of("moase++", 4, sure=1.0)
    assert (passes.forward, passes.backward) == (16, 8)


@pytest.mark.parametrize("name", WHOLE)
def test_what_runs_the_whole_network_never_asks_the_engine(name: str) -> None:
    subject = tiny_subject()
    method = build_method(name, subject, 0)
    subject.engine.close()
    run(method, BATCHES[0])


@pytest.mark.parametrize("name", [name for name in BUILDABLE if name not in WHOLE])
def test_what_runs_on_the_split_gives_the_frozen_answer_with_its_own(name: str) -> None:
    subject = tiny_subject()
    expected = subject.engine.run(BATCHES[0])["logits"]
    prediction, _ = run(build_method(name, subject, 0), BATCHES[0])
    assert prediction.frozen_logits is not None
    assert np.array_equal(prediction.frozen_logits, expected)
