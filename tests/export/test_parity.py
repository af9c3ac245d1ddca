from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.calib.adapter_gradients import deviation, perturb
from moase_edge.engines.base import Tensors
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.export.parity import ParityReport, check_parity
from moase_edge.models.split import FrozenBackbone
from moase_edge.models.steer import SteerableBackbone
from tests.adapt.backbones import draw, sidecar_of, small_vit

QUANTITIES = {
    "taps.mid",
    "taps.out",
    "logits.frozen",
    "logits.start",
    "logits.perturbed",
    "gradients.start",
    "gradients.perturbed",
}


STEERED = {"taps.mid.steered", "taps.out.steered", "logits.steered", "taps.token_means"}


def engine_of(model: nn.Module, sidecar: Sidecar) -> TorchEngine:
    return TorchEngine(FrozenBackbone(model, sidecar.spec), ("mid", "out", "logits"))


def steerable_engine_of(model: nn.Module, sidecar: Sidecar) -> TorchEngine:
    spec = sidecar.spec
    outputs = ("mid", "out", "logits", "token_means")
    return TorchEngine(SteerableBackbone(model, spec), outputs, blocks=(spec.depth, spec.channels))


class Shifted:
    """An engine whose one output is off by a share of its size."""

    def __init__(self, engine: TorchEngine, output: str, share: float) -> None:
        self.name, self._engine, self._output, self._share = "shifted", engine, output, share

    def run(self, images: Any, shift: Any = None) -> Tensors:
        values = dict(self._engine.run(images, shift))
        values[self._output] = values[self._output] * np.float32(1 + self._share)
        return values

    def close(self) -> None:
        self._engine.close()


def check(engine: Any, model: nn.Module, sidecar: Sidecar) -> ParityReport:
    return check_parity(model, engine, sidecar, size=(32, 32), seed=0)


@pytest.mark.parametrize("adapt_blocks", [1, 2, 3])
def test_a_true_split_passes_in_every_quantity(adapt_blocks: int) -> None:
    model = small_vit()
    sidecar = sidecar_of(model, adapt_blocks)
    report = check(engine_of(model, sidecar), model, sidecar)
    assert report.deviations.keys() == QUANTITIES
    assert all(len(values) == 4 for values in report.deviations.values())
    assert not report.failures, report.deviations
    assert report.figures().passed


def test_neither_model_nor_sidecar_nor_the_callers_random_state_is_changed() -> None:
    model = small_vit()
    sidecar = sidecar_of(model)
    before = copy.deepcopy([model.state_dict(), sidecar.state_dict()])
    state = torch.get_rng_state()
    check(engine_of(model, sidecar), model, sidecar)
    for found, expected in zip([model.state_dict(), sidecar.state_dict()], before, strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not any(weight.requires_grad for weight in (*model.parameters(), *sidecar.parameters()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("output", "failing"),
    [
        ("mid", {"taps.mid", "logits.perturbed", "gradients.start", "gradients.perturbed"}),
        ("out", {"taps.out", "logits.start", "logits.perturbed", "gradients.start", "gradients.perturbed"}),
        ("logits", {"logits.frozen"}),
    ],
)
def test_an_engine_that_is_off_fails_where_its_output_is_used(output: str, failing: set[str]) -> None:
    model = small_vit(global_pool="avg", fc_norm=False, final_norm=False)
    sidecar = sidecar_of(model)
    report = check(Shifted(engine_of(model, sidecar), output, 0.05), model, sidecar)
    assert set(report.failures) == failing
    assert not report.figures().passed


@pytest.mark.parametrize("adapt_blocks", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"distilled": True}, {"global_pool": "avg"}])
def test_a_true_split_that_can_be_steered_passes_under_a_shift_too(
    options: dict[str, Any], adapt_blocks: int
) -> None:
    model = small_vit(**options)
    sidecar = sidecar_of(model, adapt_blocks)
    report = check(steerable_engine_of(model, sidecar), model, sidecar)
    assert report.deviations.keys() == QUANTITIES | STEERED
    assert not report.failures, report.deviations


def test_what_is_checked_without_a_shift_does_not_depend_on_steering() -> None:
    model = small_vit()
    sidecar = sidecar_of(model)
    engines = (engine_of(model, sidecar), steerable_engine_of(model, sidecar))
    plain, steered = (check(engine, model, sidecar).deviations for engine in engines)
    assert {name: len(values) for name, values in steered.items() if name in plain} == dict.fromkeys(plain, 4)
    assert not any(hook for block in model.blocks for hook in (block._forward_pre_hooks, block._forward_hooks))  # type: ignore[union-attr]


class Misled:
    """An engine that does something else with its shift."""

    def __init__(self, engine: TorchEngine, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.name, self._engine, self._change = "misled", engine, change

    def run(self, images: Any, shift: Any = None) -> Tensors:
        return self._engine.run(images, None if shift is None else self._change(shift))

    def close(self) -> None:
        self._engine.close()


def without_last(shift: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = shift.copy()
    changed[:, -1] = 0
    return changed


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (np.zeros_like, STEERED),
        (lambda shift: np.ascontiguousarray(shift[:, ::-1]), STEERED),
        # The last block's own shift comes after every token mean.
        (without_last, STEERED - {"taps.token_means"}),
    ],
)
def test_an_engine_that_is_steered_wrongly_fails_in_what_the_shift_reaches(
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]], failing: set[str]
) -> None:
    model = small_vit()
    sidecar = sidecar_of(model)
    report = check(Misled(steerable_engine_of(model, sidecar), change), model, sidecar)
    assert set(report.failures) == failing


def test_token_means_that_are_off_fail_and_count_among_the_taps() -> None:
    model = small_vit()
    sidecar = sidecar_of(model)
    report = check(Shifted(steerable_engine_of(model, sidecar), "token_means", 0.05), model, sidecar)
    assert report.failures == ["taps.token_means"]
    assert report.figures().taps == pytest.approx(0.05, rel=1e-3)


def test_a_sidecar_whose_weights_are_off_fails() -> None:
    model = small_vit()
    sidecar = sidecar_of(model)
    engine = engine_of(model, sidecar)
    with torch.no_grad():
        sidecar.head.weight[0, 0] += 0.1
    assert {"logits.start", "logits.perturbed"} <= set(check(engine, model, sidecar).failures)


def test_perturbing_moves_every_weight_of_the_adapters_and_no_other() -> None:
    model = small_vit()
    sidecar = sidecar_of(model)
    before = copy.deepcopy(sidecar.state_dict())
    perturb(sidecar, torch.Generator().manual_seed(0))
    for name, tensor in sidecar.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("adapters."), name


def test_deviation_is_the_norm_of_the_difference_over_that_of_the_expected() -> None:
    expected = torch.tensor([3.0, 4.0])
    assert deviation(np.array([3.0, 4.5], np.float32), expected) == pytest.approx(0.1)
    assert deviation(torch.tensor([0.0, 0.5]), torch.zeros(2)) == pytest.approx(0.5)
    assert deviation(draw(3, 4), draw(3, 4)) == 0.0


def report_of(*values: float) -> ParityReport:
    return ParityReport({"taps.mid": list(values), "logits.frozen": [0.0], "gradients.start": [0.0]})


@pytest.mark.parametrize(
    ("values", "passes"),
    [
        ((1e-5, 1e-5, 1e-5, 1e-5), True),
        ((1e-5, 1e-5, 1e-5, 1.0), True),
        ((1e-5, 1e-3, 1e-3, 1.0), False),
        ((1e-4,), True),
        ((1.1e-4,), False),
        ((1e-5, 1e-5, 1e-5, float("nan")), False),
        ((1e-5, 1e-5, 1e-5, float("inf")), False),
    ],
)
def test_the_gate_takes_the_median_image_and_no_image_that_is_not_finite(
    values: tuple[float, ...], passes: bool
) -> None:
    report = report_of(*values)
    assert report.failures == ([] if passes else ["taps.mid"])
    assert report.figures().passed == passes


def test_figures_are_the_worst_medians_of_each_kind_and_json_has_every_image() -> None:
    report = ParityReport(
        {
            "taps.mid": [1e-7, 3e-7, 2e-7],
            "taps.out": [1e-6, 1e-6, 5e-6],
            "logits.frozen": [0.0],
            "gradients.start": [2e-5],
        }
    )
    figures = report.figures()
    assert (figures.taps, figures.logits, figures.gradients) == (1e-6, 0.0, 2e-5)
    plain = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert plain["deviations"]["taps.mid"] == {"median": 2e-7, "max": 3e-7, "images": [1e-7, 3e-7, 2e-7]}
    assert plain["passed"] is True
    assert plain["tolerance"] == 1e-4
