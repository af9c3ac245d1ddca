"""What an artifact's identity depends on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moase_edge.artifact.manifest import Provenance
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.specs import SidecarSpec
from moase_edge.config.moase import MoaseSettings
from moase_edge.export import provenance
from moase_edge.export.provenance import identity_of
from tests.artifact.folders import fields

PREPROCESS = {"height": 4, "width": 4, "crop_pct": 0.9, "mean": (0.5,) * 3, "std": (0.5,) * 3}


def identity(*, steer: bool = False, moase: MoaseSettings | None = None, **changes: object) -> str:
    """Of a model of two weights whose preprocessing is changed."""
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.fill_(0.0)
    spec = SidecarSpec.model_validate(fields()["sidecar"])
    preprocess = PreprocessSpec.model_validate({**PREPROCESS, **changes})
    return identity_of(model, model, spec, moase or MoaseSettings(), preprocess, steer=steer)


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


def test_parts_of_moase_that_came_later_are_in_the_identity_only_where_they_are_set() -> None:
    assert provenance._moase(MoaseSettings()).keys() == {"preset", "experts", "rank", "eta"}
    other = [MoaseSettings(sdd_share=0.25), MoaseSettings(without=("dag",))]
    assert len({identity(), *(identity(moase=moase) for moase in other)}) == 3


def test_what_no_option_sets_ends_the_script_with_its_name() -> None:
    made = Provenance(backbone="digits_vit", architecture="vit", weights="random", seed=0, versions={})
    script = provenance.reproduce_script(made, 1, MoaseSettings(sdd_share=0.25, without=("dag", "asg")), 10)
    assert "sdd_share 0.25 can only be set from Python" in script
    assert "without dag, asg can only be set from Python" in script
    assert "only be set" not in provenance.reproduce_script(made, 1, MoaseSettings(), 10)
