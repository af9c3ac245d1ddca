"""Opening a plan of an artifact, with stand-ins of TensorRT, the GPU and its memory."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from moase_edge.artifact.manifest import BuiltFor, EngineEntry
from moase_edge.artifact.store import Artifact, load_artifact, write_manifest
from moase_edge.engines.base import device_of, precision_of
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.open import open_chosen
from moase_edge.engines.tensorrt import torch_memory
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.open import open_plan
from moase_edge.engines.tensorrt.torch_memory import TorchMemory, cuda_memory
from moase_edge.errors import EngineError
from tests.blocked import run_blocked
from tests.engines.tensorrt.stand_in import Module, plan_of

ORIN = Device("Orin", "sm87", 8192, {"cuda": "12.6"})
NO_PLAN = "of fp32, the artifact's first, there is no plan: `moase-edge export --rebuild DIR` builds one"
PLAN = "backbone.fp16.sm87.trt10.9.engine"


@pytest.fixture(scope="module")
def folder(steerable_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with a plan in fp16 for a Jetson Orin."""
    return add_plan(Path(shutil.copytree(steerable_artifact, tmp_path_factory.mktemp("planned") / "digits_vit")))


def add_plan(copied: Path) -> Path:
    """Give an artifact a plan in fp16 for a Jetson Orin, of the stand-in."""
    (copied / PLAN).write_bytes(plan_of((copied / "backbone.onnx").read_bytes(), half=True))
    manifest = load_artifact(copied, verify=False).manifest
    plan = EngineEntry(
        file=PLAN,
        runtime="tensorrt",
        precision="fp16",
        source="backbone.onnx",
        built_for=BuiltFor(target="sm87", gpu="Orin", versions={"tensorrt": "10.9.0"}),
    )
    (copied / "manifest.json").unlink()
    write_manifest(copied, {**manifest.model_dump(), "engines": (*manifest.engines, plan)})
    return copied


@pytest.fixture
def artifact(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Artifact:
    """That artifact, on a machine with TensorRT and such a GPU."""
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path))
    on_gpu(monkeypatch, ORIN, Module())
    return load_artifact(folder)


def on_gpu(monkeypatch: pytest.MonkeyPatch, device: Device | None, trt: Any, *, module: str = "tensorrt") -> None:
    """As on a machine with a GPU, where `import tensorrt`, or another module, gives a stand-in."""
    monkeypatch.setitem(sys.modules, module, trt)
    for place in ("moase_edge.engines.open", "moase_edge.engines.timing", "moase_edge.engines.tensorrt.open"):
        monkeypatch.setattr(f"{place}.find_device", lambda: device)
    monkeypatch.setattr(torch_memory, "cuda_memory", lambda: TorchMemory(torch.device("cpu"), cuda=None))


def pictures() -> Any:
    return np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def test_auto_runs_a_plan_that_fits_and_says_so(artifact: Artifact) -> None:
    opened = open_chosen(artifact)
    assert opened.engine.name == "TensorRT 10.9.0 (Orin, fp16)"
    assert opened.reason == f"a plan fits this GPU; {NO_PLAN}"
    assert (precision_of(opened.engine), device_of(opened.engine)) == ("fp16", "cpu")
    expected = OnnxRuntimeEngine(artifact.path("backbone.onnx")).run(pictures())["logits"]
    np.testing.assert_allclose(opened.engine.run(pictures())["logits"], expected, rtol=2e-3, atol=2e-3)
    opened.engine.close()


@pytest.mark.parametrize(
    ("device", "version", "words"),
    [
        (
            Device("RTX 3060", "sm86", 1, {}),
            "10.9.0",
            "sm87, this GPU has sm86; it was built on Orin, this is RTX",
        ),
        (ORIN, "10.3.0", "built with tensorrt 10.9.0, here is 10.3.0"),
        (ORIN, "11.0.0", "built with tensorrt 10.9.0, here is 11.0.0"),
    ],
)
def test_a_plan_of_another_gpu_or_version_is_not_deserialised(
    device: Device, version: str, words: str, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Module(version)
    on_gpu(monkeypatch, device, module)
    with pytest.raises(EngineError, match=words) as told:
        open_chosen(artifact, "tensorrt")
    assert f"`moase-edge export --rebuild {artifact.folder}`" in str(told.value)
    assert module.calls["deserialize_cuda_engine"] == 0
    assert open_chosen(artifact).engine.name.startswith("ONNX Runtime"), "auto passes over it"


def test_without_a_gpu_a_plan_is_refused(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, None, Module())
    with pytest.raises(EngineError, match=r"no NVIDIA GPU is found.*--engine ort"):
        open_chosen(artifact, "tensorrt")


def test_without_its_flavour_a_plan_is_refused(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="TensorRT is not installed"):
        open_chosen(artifact, "tensorrt")


def test_a_renamed_plan_is_refused_by_its_content(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(artifact.folder, tmp_path / "renamed"))
    (copied / PLAN).write_bytes((copied / "sidecar.safetensors").read_bytes())
    renamed = load_artifact(copied, verify=False)
    with pytest.raises(EngineError, match="no plan at all"):
        open_plan(renamed, renamed.manifest.engines[-1])


def test_a_plan_that_fails_its_check_gives_way_to_the_next_and_is_not_loaded_again(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(artifact.folder, tmp_path / "broken"))
    exact = "backbone.fp32.sm87.trt10.9.engine"
    (folder / exact).write_bytes(plan_of((folder / "backbone.onnx").read_bytes()))
    model = onnx.load(str(folder / "backbone.onnx"))
    for weights in (each for each in model.graph.initializer if len(each.dims) == 2):
        weights.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(weights), weights.name))
    (folder / PLAN).write_bytes(plan_of(model.SerializeToString()))
    *graphs, half = artifact.manifest.engines
    whole = half.model_copy(update={"file": exact, "precision": "fp32"})
    (folder / "manifest.json").unlink()
    write_manifest(folder, {**artifact.manifest.model_dump(), "engines": (*graphs, half, whole)})
    for loaded in (2, 1):
        on_gpu(monkeypatch, ORIN, module := Module())
        opened = open_chosen(load_artifact(folder))
        assert opened.engine.name == "TensorRT 10.9.0 (Orin, fp32)"
        assert opened.reason == f"a plan fits this GPU; fp32 is the next best; tensorrt does not open {PLAN}"
        assert module.calls["deserialize_cuda_engine"] == loaded
        opened.engine.close()


def test_a_later_version_of_tensorrt_checks_a_plan_again(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = artifact.manifest.engines[-1]
    built = plan.built_for.model_copy(update={"version_compatible": True}) if plan.built_for else None
    plan = plan.model_copy(update={"built_for": built})
    every = 4 * 2 * 2  # frames, without and under a shift, handed to the host and left on the device
    for version, runs in (("10.9.0", every), ("10.9.0", 0), ("10.10.0", every)):
        on_gpu(monkeypatch, ORIN, module := Module(version))
        open_plan(artifact, plan).close()
        assert module.calls["execute_async_v3"] == runs


def test_a_plan_that_was_checked_and_lacks_memory_now_gives_way_when_it_is_opened(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_chosen(artifact).engine.close()
    on_gpu(monkeypatch, ORIN, Module(memory=False))
    opened = open_chosen(artifact)
    assert opened.engine.name.startswith("ONNX Runtime")
    assert opened.reason.endswith(f"tensorrt does not open {PLAN}")


def test_a_gpu_that_pytorch_does_not_see_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("PyTorch sees a GPU")
    with pytest.raises(EngineError, match=r"PyTorch .* finds no NVIDIA GPU"):
        cuda_memory()


FROZEN = """
    import sys
    from pathlib import Path
    from types import ModuleType
    from moase_edge.engines.tensorrt.device import Device
    import moase_edge.engines.open, moase_edge.engines.tensorrt.open
    from tests.engines.tensorrt.cuda_stand_in import Driver
    from tests.engines.tensorrt.stand_in import Module
    for place in (moase_edge.engines.open, moase_edge.engines.tensorrt.open):
        place.find_device = lambda: Device("Orin", "sm87", 8192, {"cuda": "12.6"})
    sys.modules["tensorrt"] = Module()
    package = ModuleType("pycuda")
    package.driver = Driver()
    sys.modules.update({"pycuda": package, "pycuda.driver": package.driver})
    from moase_edge.runtime.pipeline import Pipeline
    pipeline = Pipeline.open(Path(sys.argv[1]), adapt="off")
    for result in pipeline.run(sys.argv[2]):
        print(result.adapted, result.prediction is not None)
    print(pipeline.facts["engine"], "|", pipeline.facts["engine_choice"], "|", pipeline.facts["precision"])
    pipeline.close()
    print(*package.driver.log[:3], package.driver.log[-1])
"""


def test_a_frozen_run_without_pytorch_takes_pycuda(folder: Path, source_digits: Path) -> None:
    picture = sorted(source_digits.iterdir())[0]
    printed = run_blocked(FROZEN, {"torch", "timm", "onnx", "matplotlib"}, [folder, picture])
    assert printed.splitlines() == [
        "False True",
        f"TensorRT 10.9.0 (Orin, fp16) | a plan fits this GPU; {NO_PLAN} | fp16",
        "init retain_primary_context push pop",
    ]


def test_without_pytorch_and_pycuda_both_are_named(folder: Path, source_digits: Path) -> None:
    code = FROZEN.replace('sys.modules.update({"pycuda": package, "pycuda.driver": package.driver})', "")
    code = code.replace(
        'pipeline = Pipeline.open(Path(sys.argv[1]), adapt="off")',
        "from moase_edge.errors import EngineError\n"
        "    try:\n"
        '        Pipeline.open(Path(sys.argv[1]), adapt="off", engine="tensorrt")\n'
        "    except EngineError as exc:\n"
        "        print(exc)\n"
        "        sys.exit()",
    )
    printed = run_blocked(code, {"torch", "pycuda"}, [folder])
    assert printed.startswith("a plan needs PyTorch or pycuda to hold its tensors, and neither can be imported")
    assert "moase-edge[pycuda]" in printed
