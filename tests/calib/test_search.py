"""A search tries what it is told, on frames that it holds out."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from moase_edge.calib.fidelity import Fidelity, fidelity_of, run_graph
from moase_edge.calib.products import load_graph
from moase_edge.calib.search import dealt, find_int8, least_loss
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.errors import CalibrationError
from tests.calib.graphs import tiny_frames, tiny_graph

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
