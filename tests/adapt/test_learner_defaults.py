"""With what was added switched off, a step is the one that was there before, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.adapt.learner import Learner
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.views import channel_dropout
from moase_edge.config.adapt import ADAPT_PRESETS
from moase_edge.config.names import Preset
from moase_edge.moase.adapter import experts_of
from moase_edge.moase.proximal import PROXIMAL_FORMS
from moase_edge.moase.restore import restore_at_random
from moase_edge.moase.teacher import make_teacher
from tests.adapt.backbones import random_taps, sidecar_of, small_vit
from tests.adapt.learners import follow


def adapters_weights(sidecar: Sidecar) -> list[Tensor]:
    return list(sidecar.adapters.parameters())


def published_loop(sidecar: Sidecar, settings: dict[str, Any], batches: list[Taps]) -> tuple[Sidecar, Sidecar]:
    """Student and teacher after a step on each batch, written out: no reservoir, no average with the source."""
    student = sidecar.requires_grad_(False)
    student.adapters.requires_grad_(True)
    teacher, source = make_teacher(student), make_teacher(student)
    anchor = {"source": source, "teacher": teacher}[settings["proximal_anchor"]]
    trained, generator = adapters_weights(student), torch.Generator().manual_seed(settings["seed"])
    optimizer = torch.optim.Adam(trained, lr=settings["lr"], betas=settings["betas"], fused=True)
    distance: Callable[..., Tensor] = PROXIMAL_FORMS[settings["proximal"]]
    for taps in batches:
        with torch.no_grad():
            target = F.softmax(teacher(taps).logits, dim=-1)
        if settings["view"] == "channel-dropout":
            taps = channel_dropout(taps, settings["view_strength"], generator)  # noqa: PLW2901
        agreement = -(target * F.log_softmax(student(taps).logits, dim=-1)).sum(dim=-1).mean()
        loss = agreement + settings["proximal_weight"] * distance(experts_of(student), experts_of(anchor))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, settings["max_grad_norm"])
        optimizer.step()
        with torch.no_grad():
            for average, weight in zip(adapters_weights(teacher), trained, strict=True):
                average.lerp_(weight, 1 - settings["alpha"])
        if settings["restore_probability"]:
            restore_at_random(trained, adapters_weights(source), settings["restore_probability"], generator)
    return student, teacher


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("preset", get_args(Preset))
def test_presets_take_the_steps_of_a_loop_that_knows_nothing_of_what_is_off(preset: Preset, blocks: int) -> None:
    settings = {**ADAPT_PRESETS[preset].learner(), "objectives": {"consistency": 1.0}}
    learner = Learner(sidecar_of(small_vit(), blocks, preset=preset), **settings)
    batches = [random_taps(learner.student, seed=seed) for seed in range(5)]
    follow(learner, 5)
    expected = published_loop(sidecar_of(small_vit(), blocks, preset=preset), settings, batches)
    for side, found in zip(expected, (learner.student, learner.teacher), strict=True):
        assert len(adapters_weights(side)) > 0
        for weight, same in zip(adapters_weights(side), adapters_weights(found), strict=True):
            assert torch.equal(weight, same)
    assert learner.snapshot().reservoir is None
    assert learner.snapshot().clock == 0
