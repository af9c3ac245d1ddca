"""Names that settings offer are the keys of the dicts that own them."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from moase_edge.adapt import tail
from moase_edge.adapt.augmented import POLICIES
from moase_edge.adapt.learner import Learner
from moase_edge.adapt.parts import trained_parts
from moase_edge.adapt.views import VIEWS
from moase_edge.artifact.specs import Activation, Pooling
from moase_edge.config.adapt import (
    ADAPT_PRESETS,
    AugmentPolicyName,
    ObjectiveName,
    ProximalAnchor,
    ProximalForm,
    TrainedPart,
    ViewName,
)
from moase_edge.config.names import Preset
from moase_edge.moase.adapter import FORWARDS
from moase_edge.moase.objectives import OBJECTIVES
from moase_edge.moase.proximal import PROXIMAL_FORMS
from moase_edge.models import accept
from tests.adapt.backbones import random_taps, sidecar_of, small_vit


@pytest.mark.parametrize(
    ("literal", "keys"),
    [
        (Preset, FORWARDS),
        (Preset, ADAPT_PRESETS),
        (ObjectiveName, OBJECTIVES),
        (ViewName, VIEWS),
        (AugmentPolicyName, POLICIES),
        (ProximalForm, ("none", *PROXIMAL_FORMS)),
        (Activation, tail.ACTIVATIONS),
        (Activation, set(accept.ACTIVATIONS.values())),
        (Pooling, accept.POOLINGS),
    ],
)
def test_literal_equals_the_keys_of_its_owner(literal: Any, keys: Any) -> None:
    assert set(get_args(literal)) == set(keys)


@pytest.mark.parametrize("part", get_args(TrainedPart))
def test_every_part_that_settings_name_can_be_trained(part: str) -> None:
    assert trained_parts(sidecar_of(small_vit()), [part])


@pytest.mark.parametrize("anchor", get_args(ProximalAnchor))
def test_every_anchor_that_settings_name_is_known(anchor: str) -> None:
    Learner(sidecar_of(small_vit()), proximal_anchor=anchor)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_learner_takes_a_step_with_the_settings_of_every_preset(preset: Preset) -> None:
    options = {**ADAPT_PRESETS[preset].learner(), "objectives": {"consistency": 1.0}}
    learner = Learner(sidecar_of(small_vit(), preset=preset), **options)
    taps = random_taps(learner.student)
    learner.learn(taps, learner.predict(taps))
    assert learner.updates == 1
