from __future__ import annotations

import pytest

from moase_edge.engines.tensorrt.device import Device
from moase_edge.errors import EngineError
from moase_edge.runtime.doctor import engines
from moase_edge.runtime.doctor.engines import flavour, gpu, onnx_runtime

ORIN = Device("Orin", "sm87", 7620, {"cuda": "12.6", "l4t": "36.4.3"})


def test_the_gpu_is_told_with_its_driver() -> None:
    assert gpu(ORIN).found == "Orin (sm87), 7620 MiB; cuda 12.6, l4t 36.4.3"
    assert gpu(None).state == "note"


def test_an_onnx_runtime_that_cannot_use_the_gpu_at_hand_is_bad() -> None:
    assert onnx_runtime({"cpu"}, "1.32", ORIN).state == "bad"
    assert onnx_runtime({"cpu", "cuda"}, "1.32", ORIN).found == "1.32: cpu, cuda"
    assert onnx_runtime({"cpu"}, "1.32", None).state == "ok"


@pytest.mark.parametrize(("device", "extra"), [(None, "[cpu]"), (ORIN, "[gpu]")])
def test_a_missing_onnx_runtime_is_told_with_the_one_that_fits(device: Device | None, extra: str) -> None:
    finding = onnx_runtime(None, None, device)
    assert finding.state == "missing"
    assert extra in finding.advice


def test_a_flavour_that_is_not_there_matters_only_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise EngineError("TensorRT is not installed. Install it.")

    monkeypatch.setattr(engines, "find_flavour", refuse)
    assert flavour("tensorrt", None).state == "note"
    assert (flavour("tensorrt", ORIN).state, flavour("tensorrt", ORIN).advice) == (
        "missing",
        "TensorRT is not installed. Install it.",
    )
