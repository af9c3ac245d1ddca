"""The benchmark of a GPU, on a CPU: the same code with the engines that are there, and a stand-in of TensorRT."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import gpu, gpu_subject
from benchmarks.gpu import main, told
from benchmarks.gpu_engines import Contender, Place
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.engines.tensorrt import torch_memory
from moase_edge.engines.tensorrt.device import Device, find_device
from moase_edge.engines.tensorrt.flavour import Flavour
from moase_edge.engines.tensorrt.torch_memory import TorchMemory
from moase_edge.errors import EngineError, ExportError
from moase_edge.export import plans
from tests.engines.tensorrt.stand_in import Module, plan_of

SHORT = ["--backbone", "digits_vit", "--rounds", "1", "--frames", "2", "--pictures", "4", "--no-compile"]
ORIN = Device("Orin", "sm87", 8192, {"cuda": "12.6"})


@pytest.fixture(scope="module", autouse=True)
def _no_data() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MOASE_EDGE_DATA", raising=False)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of what a CPU has; never write to it."""
    out = tmp_path_factory.mktemp("gpu") / "deep" / "gpu.json"
    main(["--device", "cpu", *SHORT, "--out", str(out)])
    return out


@pytest.fixture(scope="module")
def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_every_engine_and_precision_of_a_cpu_is_measured_alone_answering_and_learning(
    record: dict[str, Any],
) -> None:
    in_pytorch = {f"PyTorch eager {precision}" for precision in ("fp32", "fp16", "bf16")}
    measured = {name: of for name, of in record["engines"].items() if "latency_ms" in of}
    assert set(measured) == {*in_pytorch, "ort fp32", "ort fp16", "ort int8"}
    for engine in measured.values():
        assert set(engine["latency_ms"]) == {"engine", "prediction", "update"}
        assert all(of["count"] == 2 and of["p50"] > 0 for of in engine["latency_ms"].values())
        inside = engine["engine_inside_ms"]
        assert math.isclose(engine["p99_ratio"], inside["update"]["p99"] / inside["prediction"]["p99"])
        assert engine["met"] == (engine["p99_ratio"] <= 1.2)
    assert record["pending"] == []


def test_what_cannot_be_had_is_absent_with_the_reason_and_the_rest_goes_on(
    record: dict[str, Any], tmp_path: Path
) -> None:
    refused = record["engines"]["ort bf16"]
    assert "latency_ms" not in refused
    assert refused["absent"].startswith("ONNX Runtime ")
    assert "cannot load artifact/backbone.bf16.onnx" in refused["absent"], "no path of the machine"
    assert refused["parity"]["absent"] == refused["absent"]


def test_each_engine_is_held_against_the_fp32_graph_by_the_thresholds_of_its_precision(
    record: dict[str, Any],
) -> None:
    parity = {name: of["parity"] for name, of in record["engines"].items() if "latency_ms" in of}
    for name, found in parity.items():
        assert found["ok"] == (not found["failures"]), name
        figures = {"cosine", "relative_error", "logits", "token_means", "gradients", "top1_agreement", "steered"}
        assert set(found) == {"ok", "failures"} | figures
    for name in ("PyTorch eager fp32", "ort fp32"):
        assert parity[name]["ok"]
        assert parity[name]["relative_error"] < 1e-4
        assert parity[name]["gradients"] < 1e-3
    assert parity["PyTorch eager fp16"]["ok"]
    assert 1e-4 < parity["PyTorch eager fp16"]["relative_error"] < parity["PyTorch eager bf16"]["relative_error"]
    assert parity["ort int8"]["relative_error"] > 1e-3, "it is another graph"


def test_the_record_says_what_it_was_measured_on_and_what_it_is_not(record: dict[str, Any]) -> None:
    setup = record["setup"]
    assert (setup["device"], record["weights"], setup["batch"]) == ("cpu", "random", 1)
    assert setup["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    compared = record["parity"]
    assert (compared["weights"], compared["frames"]) == ("random", "4 frames of seeded noise")
    assert compared["thresholds"]["fp16"]["relative_error"] == 0.01
    assert record["made"]["timed"]["fp16"]["strategy"] == "plain"
    assert 0 < record["made"]["timed"]["int8"]["share_of_multiply_adds"] <= 1


def test_the_same_command_does_nothing_twice(
    out: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "make_subjects", None)
    main(["--device", "cpu", *SHORT, "--out", str(out)])
    assert json.loads(out.read_text())["engines"] == record["engines"]
    assert capsys.readouterr().out.splitlines()[0].startswith("PyTorch eager fp32: parity holds; engine ")


def test_figures_of_another_measurement_are_not_put_into_one_record(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--device", "cpu", *SHORT, "--seed", "7", "--out", str(out)])
    assert ended.value.code == 2
    assert "is of another measurement: seed 0, here 7. Name another file" in capsys.readouterr().err


def test_a_name_that_no_engine_has_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--device", "cpu", *SHORT, "--only", "tensorrt*"])
    assert ended.value.code == 2
    assert "no engine is called tensorrt*; there are: PyTorch eager fp32; ort fp32; " in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--device", "cpu", "--checkpoint", str(tmp_path / "none.safetensors")])
    assert ended.value.code == 1
    assert "could not read" in capsys.readouterr().err


def test_when_the_time_is_up_the_record_says_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "make_subjects", lambda *given: (None, None))
    monkeypatch.setattr(gpu, "_facts", lambda *given: {})
    out = tmp_path / "gpu.json"
    main(["--device", "cpu", *SHORT, "--only", "ort *", "--minutes", "0", "--out", str(out)])
    found = json.loads(out.read_text())
    assert (found["engines"], found["pending"]) == ({}, ["ort fp32", "ort fp16", "ort int8", "ort bf16"])


def test_parity_is_taken_on_real_weights_and_photographs_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights" / "deit_tiny_patch16_224.safetensors"
    weights.parent.mkdir()
    weights.touch()
    plain, named = gpu._parsed([]), gpu._parsed(["--checkpoint", "my.safetensors"])
    assert gpu.tested_weights(plain) == ("vit_b16", None)
    assert gpu.pictures_of(plain, None) == 8, "noise, as `export` takes it"
    monkeypatch.setenv("MOASE_EDGE_DATA", str(tmp_path))
    assert gpu.tested_weights(plain) == ("deit_tiny", weights)
    assert gpu.tested_weights(named) == ("vit_b16", Path("my.safetensors"))
    assert gpu.pictures_of(plain, tmp_path) == 36


def test_without_a_gpu_it_ends_with_code_4_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    if find_device() is not None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit) as ended:
        main(["--rounds", "1"])
    assert ended.value.code == 4
    assert capsys.readouterr().err.startswith("error: this benchmark measures engines on an NVIDIA GPU, and this")


class Broken:
    """An engine that opens and fails in a way that is not ours."""

    name = "broken"
    closed = False

    def run(self, images: object, shift: object = None) -> Any:
        raise ZeroDivisionError("division by zero\nmore")

    def close(self) -> None:
        self.closed = True


def entry_of(open_it: Callable[[Any], Any]) -> dict[str, Any]:
    contender = Contender("any", "fp32", open_it)
    subject = SimpleNamespace(folder=Path("work"))
    return gpu._of(contender, subject, lambda engine: engine.run(None))  # type: ignore[arg-type, no-any-return]


def test_an_engine_that_fails_in_any_way_becomes_an_entry() -> None:
    def refuse(_subject: object) -> Any:
        raise EngineError("no such thing in work/artifact.\n  Install it.")

    def break_down(_subject: object) -> Any:
        raise RuntimeError

    broken = Broken()
    assert entry_of(refuse) == {"absent": "no such thing in artifact. Install it."}
    assert entry_of(break_down) == {"failed": "RuntimeError"}
    assert entry_of(lambda _subject: broken) == {"failed": "ZeroDivisionError: division by zero"}
    assert broken.closed


def test_a_line_tells_why_an_engine_has_no_figures() -> None:
    assert told("ort fp32", {"failed": "it broke"}) == "ort fp32: failed: it broke"


@pytest.fixture
def exported(steerable_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is a copy, which takes no time."""

    def export(_request: object, folder: Path) -> Artifact:
        return load_artifact(Path(shutil.copytree(steerable_artifact, folder)))

    monkeypatch.setattr(gpu_subject, "export_artifact", export)


@pytest.fixture
def tensorrt(exported: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """TensorRT's stand-in on a GPU that is the CPU; it builds no plan of an int8 graph."""
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", Module("10.9.0"))
    for place in ("moase_edge.engines.tensorrt.open", "moase_edge.export.plan_targets", "benchmarks.gpu"):
        monkeypatch.setattr(f"{place}.find_device", lambda: ORIN)
    monkeypatch.setattr(torch_memory, "cuda_memory", lambda: TorchMemory(torch.device("cpu"), cuda=None))

    def build(graph: bytes, *given: object, **named: object) -> Any:
        if b"QuantizeLinear" in graph:
            raise ExportError("TensorRT cannot take the node Q")
        return SimpleNamespace(plan=plan_of(graph), timings=None)

    monkeypatch.setattr(plans, "build_plan", build)
    lacking = {"tensorrt-rtx": "TensorRT-RTX is not installed."}
    return Place(torch.device("cpu"), ("tensorrt",), graphs=(False, True), target="sm87", lacking=lacking)


def through(place: Place, folder: Path, *more: str) -> dict[str, Any]:
    kept = ["--device", "cpu", *SHORT, "--work", str(folder / "work"), "--out", str(folder / "gpu.json")]
    return gpu.measure(gpu._parsed([*kept, *more]), place)


def test_plans_are_built_in_every_precision_and_run_with_and_without_graphs(
    tensorrt: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = through(tensorrt, tmp_path, "--only", "tensorrt*")
    engines = found["engines"]
    runs = [f"tensorrt {name}" for name in ("fp32", "fp32, CUDA graph", "fp16", "fp16, CUDA graph")]
    assert list(engines)[:4] == runs
    for name in runs:
        assert engines[name]["parity"]["ok"], name
        assert engines[name]["name"].startswith("TensorRT 10.9.0 (Orin, fp")
    for name in ("tensorrt int8", "tensorrt int8, CUDA graph"):
        assert engines[name]["absent"] == "TensorRT cannot take the node Q"
    assert engines["tensorrt-rtx"]["absent"] == "TensorRT-RTX is not installed."
    assert found["setup"]["machine"]["gpu"] == "Orin"
    assert found["made"]["timed"]["tensorrt fp16"] == {"file": "backbone.fp16.sm87.orin.trt10.9.engine"}

    monkeypatch.setattr(gpu_subject, "export_artifact", None)
    again = through(tensorrt, tmp_path, "--only", "tensorrt fp16", "--again")
    assert again["engines"]["tensorrt fp16"]["parity"]["ok"], "what was made before is found in the folder"
    assert again["made"] == found["made"]


def test_a_gpu_too_old_for_bfloat16_has_no_graph_in_it(tensorrt: Place, tmp_path: Path) -> None:
    old = dataclasses.replace(tensorrt, target="sm75", runners=("ort",), graphs=(False,), lacking={})
    found = through(old, tmp_path, "--only", "ort fp32", "--only", "ort bf16")
    assert found["engines"]["ort bf16"]["absent"].startswith("sm75 has no bfloat16, which begins with sm80.")
    assert "latency_ms" in found["engines"]["ort fp32"]


def test_tensorrt_rtx_builds_a_plan_of_every_precision(
    rtx: Flavour, exported: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if find_device() is not None:
        pytest.skip("this machine has a GPU, which is not the one that is built for")
    laptop = Device("RTX 3060", "sm86", 8192, {"cuda": "13.0"})
    monkeypatch.setattr("moase_edge.export.plan_targets.find_device", lambda: laptop)
    place = Place(torch.device("cpu"), ("ort", "tensorrt-rtx"), target="sm86")
    found = through(place, tmp_path, "--only", "ort fp32", "--only", "tensorrt-rtx*")
    files = {name: of["file"] for name, of in found["made"]["timed"].items() if name.startswith("tensorrt-rtx")}
    assert files == {
        f"tensorrt-rtx {precision}": f"backbone.{precision}.sm86.{rtx.tag}.engine"
        for precision in ("fp32", "fp16", "int8", "bf16")
    }
    absent = [of["absent"] for name, of in found["engines"].items() if name in files]
    assert len(absent) == 4
    assert all(why.startswith("no NVIDIA GPU is found") for why in absent)
