"""What an artifact's identity depends on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.specs import SidecarSpec
from moase_edge.config.moase import MoaseSettings
from moase_edge.export.provenance import identity_of
from tests.artifact.folders import fields

PREPROCESS = {"height": 4, "width": 4, "crop_pct": 0.9, "mean": (0.5,) * 3, "std": (0.5,) * 3}


def identity(*, steer: bool = False, **changes: object) -> str:
    """Of a model of two weights whose preprocessing is changed."""
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.fill_(0.0)
    spec = SidecarSpec.model_validate(fields()["sidecar"])
    preprocess = PreprocessSpec.model_validate({**PREPROCESS, **changes})
    return identity_of(model, model, spec, MoaseSettings(), preprocess, steer=steer)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.485, 0.456, 0.406)},
        {"std": (0.5, 0.5, 0.51)},
        {"crop_pct": 1.0},
        {"crop_mode": "squash"},
        {"interpolation": "bilinear"},
        {"width": 5},
    ],
)
def test_every_part_of_the_preprocessing_is_part_of_the_identity(change: dict[str, object]) -> None:
    assert identity() == identity()
    assert identity(**change) != identity()


def test_an_engine_that_can_be_steered_has_another_identity() -> None:
    assert identity(steer=True) != identity()
