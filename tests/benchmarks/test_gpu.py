"""The benchmark of a GPU, on a CPU: the same code with the engines that are there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu import compare, main, summarise
from benchmarks.gpu_engines import contenders
from moase_edge.artifact.store import load_artifact
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.tensorrt.device import find_device
from moase_edge.models.build import build_backbone
from moase_edge.models.steer import cut


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("gpu") / "deep" / "gpu.json"
    short = ["--rounds", "1", "--frames", "2", "--no-compile"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MOASE_EDGE_DATA", raising=False)
        main(["--device", "cpu", "--backbone", "digits_vit", *short, "--out", str(out)])
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_every_engine_of_a_cpu_is_measured_alone_answering_and_learning(record: dict[str, Any]) -> None:
    assert set(record["engines"]) == {"PyTorch eager", "ort fp32"}
    for engine in record["engines"].values():
        assert set(engine["latency_ms"]) == {"engine", "prediction", "update"}
        assert all(of["count"] == 2 and of["p50"] > 0 for of in engine["latency_ms"].values())
        inside = engine["engine_inside_ms"]
        assert math.isclose(engine["p99_ratio"], inside["update"]["p99"] / inside["prediction"]["p99"])


def test_the_record_says_what_it_was_measured_on_and_what_it_is_not(record: dict[str, Any]) -> None:
    assert (record["device"], record["weights"], record["batch"]) == ("cpu", "random", 1)
    assert record["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert record["parity"] == {
        "weights": None,
        "why": "neither --checkpoint nor MOASE_EDGE_DATA names real weights",
    }


def test_without_a_gpu_it_ends_with_code_4_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    if find_device() is not None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit) as ended:
        main(["--rounds", "1"])
    assert ended.value.code == 4
    assert capsys.readouterr().err.startswith("error: this benchmark measures engines on an NVIDIA GPU, and this")


def test_pytorch_and_onnx_runtime_hold_parity_in_it(steerable_artifact: Path) -> None:
    artifact = load_artifact(steerable_artifact, verify=False)
    frames = [np.random.default_rng(seed).standard_normal((1, 3, 32, 32)).astype(np.float32) for seed in range(3)]
    reference = OnnxRuntimeEngine(steerable_artifact / "backbone.onnx")
    expected = [reference.run(frame) for frame in frames]

    def module() -> torch.nn.Module:
        return cut(build_backbone("digits_vit").model, artifact.manifest.sidecar, steer=True)

    for contender in contenders(artifact, module, torch.device("cpu"), compiled=False):
        found = compare(contender.open(), frames, expected)
        assert found["cosine"] > 0.9999, contender.name
        assert found["relative_error"] < 1e-4, contender.name
        assert found["top1_agreement"] == 1, contender.name


def test_a_gpu_has_every_runner_with_and_without_graphs(steerable_artifact: Path) -> None:
    artifact = load_artifact(steerable_artifact, verify=False)
    names = [each.name for each in contenders(artifact, torch.nn.Identity, torch.device("cuda"))]
    graphs = [f"{runner} fp32{more}" for runner in ("ort-cuda", "ort-tensorrt") for more in ("", ", CUDA graph")]
    assert names == ["PyTorch eager", "PyTorch compiled", *graphs], "plans only where the artifact holds them"


def test_the_target_is_on_the_engine_s_p99_with_updates_over_that_without() -> None:
    times = {"engine": [1.0], "prediction": [2.0], "update": [3.0]}
    held = summarise(times, {"prediction": [10.0, 10.0], "update": [11.9, 11.9]})
    missed = summarise(times, {"prediction": [10.0, 10.0], "update": [10.0, 13.0]})
    assert held["met"]
    assert missed["p99_ratio"] == pytest.approx(1.297)
    assert not missed["met"]
