"""A search tries what it is told, on frames that it holds out."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest

from moase_edge.calib.fidelity import Fidelity, fidelity_of, near_chance, run_graph
from moase_edge.calib.products import load_graph
from moase_edge.calib.search import dealt, find_int8, least_loss
from moase_edge.config.calib import QuantiseSettings, RepresentativeSettings, SearchSettings
from moase_edge.errors import CalibrationError, GateError
from tests.calib.graphs import CLASSES, tiny_frames, tiny_graph

SEARCH = SearchSettings(max_drop=100, least_int8=0, methods=("minmax", "percentile"), probes=4)


def test_every_third_frame_is_held_out_and_no_other() -> None:
    assert dealt([0, 1, 2, 3, 4, 5, 6], 3) == ([0, 1, 3, 4, 6], [2, 5])


def test_the_best_method_of_those_asked_for_is_written(tmp_path: Path) -> None:
    model = tiny_graph(tmp_path / "tiny.onnx")
    stages: list[str] = []
    found = find_int8(
        model,
        tmp_path / "int8.onnx",
        tiny_frames(12),
        QuantiseSettings(),
        SEARCH,
        head=True,
        announce=stages.append,
    )
    assert set(found.by_method) == {"minmax", "percentile"}
    assert found.method == least_loss(found.by_method)
    assert (found.ranging, found.held) == (8, 4)
    assert stages[:3] == ["watching activations", "trying ranges by minmax", "trying ranges by percentile"]
    onnx.checker.check_model(onnx.load(str(found.quantised.path)))
    held = tiny_frames(12)[2::3]
    again = fidelity_of(
        run_graph(load_graph(tmp_path / "int8.onnx"), held), run_graph(load_graph(model), held), head=True
    )
    assert again == found.fidelity
    assert found.spans["images"] == (
        min(float(frame.min()) for frame in tiny_frames(12)),
        max(float(frame.max()) for frame in tiny_frames(12)),
    )


def test_too_few_frames_to_hold_one_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="2 calibration frames that differ are too few"):
        find_int8(
            tiny_graph(tmp_path / "tiny.onnx"),
            tmp_path / "int8.onnx",
            tiny_frames(2),
            QuantiseSettings(),
            SEARCH,
            head=True,
        )


def test_points_are_of_accuracy_of_agreement_or_of_features() -> None:
    assert Fidelity(10, 0.9, 0.7, 0.75, 0.2).drop == pytest.approx(5)
    assert Fidelity(10, 0.9, None, None, 0.2).drop == pytest.approx(10)
    assert Fidelity(10, None, None, None, 0.2).drop == pytest.approx(20)


def test_labels_that_the_float_graph_knows_judge_the_loss_and_others_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, frames = tiny_graph(tmp_path / "tiny.onnx"), tiny_frames(30)
    right = [int(each["logits"].argmax()) for each in run_graph(load_graph(model), frames)]
    settings, out = QuantiseSettings(), tmp_path / "int8.onnx"
    found = find_int8(model, out, frames, settings, SEARCH, head=True, labels=right)
    assert found.fidelity.source_accuracy == 1
    assert "labelled" not in caplog.text
    other = [(label + 1) % CLASSES for label in right]
    found = find_int8(model, out, frames, settings, SEARCH, head=True, labels=other)
    assert (found.fidelity.source_accuracy, found.fidelity.agreement is None) == (None, False)
    assert "answers 0.0% of 30 labelled frames right, and chance is 20.0%" in caplog.text


@pytest.mark.parametrize(
    ("accuracy", "classes", "frames", "near"),
    [
        (0.2, 10, 100, True),
        (0.21, 10, 100, False),
        (0.1, 1000, 100, True),
        (0.76, 2, 16, False),
        (0.75, 2, 16, True),
    ],
)
def test_near_chance_is_ten_points_or_two_standard_errors_above(
    accuracy: float, classes: int, frames: int, near: bool
) -> None:
    assert near_chance(accuracy, classes, frames) is near


def test_a_budget_finer_than_one_frame_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, frames = tiny_graph(tmp_path / "tiny.onnx"), tiny_frames(12)
    for max_drop, warned in ((25, False), (24.9, True)):
        search = SearchSettings(max_drop=max_drop, least_int8=0, methods=("minmax",), probes=1, always_probe=False)
        with contextlib.suppress(GateError):
            find_int8(model, tmp_path / "int8.onnx", frames, QuantiseSettings(), search, head=True)
        assert (
            "one of 4 held-out frames weighs 25.0 points, more than the budget of 24.9" in caplog.text
        ) is warned


def test_as_many_frames_as_are_kept_can_hold_the_usual_budget() -> None:
    held = dealt(range(RepresentativeSettings().most), SearchSettings().hold_out)[1]
    assert 100 / len(held) <= SearchSettings().max_drop
