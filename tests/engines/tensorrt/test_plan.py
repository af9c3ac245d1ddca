"""Loading a plan: what is refused before and while it is deserialised, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.manifest import BuiltFor, EngineEntry
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.executor import PlanRunner, TensorRtEngine
from moase_edge.engines.tensorrt.flavour import Flavour, find_flavour
from moase_edge.engines.tensorrt.plan import load_plan, refuse_misfit
from moase_edge.engines.tensorrt.runtime_cache import RuntimeCache, runtime_cache
from moase_edge.engines.tensorrt.torch_memory import TorchMemory
from moase_edge.errors import EngineError
from tests.engines.tensorrt.stand_in import Module, plan_of
from tests.engines.tensorrt.test_executor import pictures

FOLDER = Path("artifacts/vit")
RTX = Device("NVIDIA GeForce RTX 3060", "sm86", 12288, {"driver": "580.10"})


def trt(**more: bool) -> Flavour:
    return Flavour("tensorrt", Module(**more), "10.9.0")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_misfit_names_all_that_differs_and_the_command_that_rebuilds() -> None:
    built = BuiltFor(target="sm89", gpu="NVIDIA L4", versions={"tensorrt": "10.3.0"})
    entry = EngineEntry(file="a.engine", runtime="tensorrt", source="a.onnx", built_for=built)
    with pytest.raises(EngineError) as told:
        refuse_misfit(entry, trt(), RTX, FOLDER)
    message = str(told.value)
    assert "10.3.0, here is 10.9.0; " in message
    assert "sm89, this GPU has sm86; " in message
    assert "NVIDIA L4, this is NVIDIA GeForce RTX 3060" in message
    assert "`moase-edge export --rebuild artifacts/vit`" in message
    assert told.value.exit_code == 4


def test_a_plan_tells_its_inputs_outputs_and_batches(steerable_artifact: Path, tmp_path: Path) -> None:
    graph = (steerable_artifact / "backbone.onnx").read_bytes()
    path = written(tmp_path / "a.engine", plan_of(graph, smallest=1, largest=8))
    plan = load_plan(path, trt(), folder=FOLDER)
    assert [(port.name, port.shape[-1], port.dtype) for port in plan.inputs] == [
        ("images", 32, "float32"),
        ("shift", plan.inputs[1].shape[-1], "float32"),
    ]
    assert {port.name for port in plan.outputs} == {"mid", "out", "logits", "token_means"}
    assert plan.batch == (1, 8)
    fixed = written(tmp_path / "b.engine", plan_of(graph, smallest=4, largest=4))
    assert load_plan(fixed, trt(), folder=FOLDER).batch == (4, 4)


@pytest.mark.parametrize("allowed", [False, True])
def test_code_in_a_plan_is_allowed_only_where_its_entry_says_so(
    allowed: bool, digits_artifact: Path, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.engine", plan_of((digits_artifact / "backbone.onnx").read_bytes()))
    flavour = trt()
    load_plan(path, flavour, folder=FOLDER, host_code=allowed)
    assert flavour.module.calls["host code allowed"] == allowed


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_plan_is_refused(share: float, digits_artifact: Path, tmp_path: Path) -> None:
    whole = plan_of((digits_artifact / "backbone.onnx").read_bytes())
    path = written(tmp_path / "a.engine", whole[: int(share * len(whole))])
    with pytest.raises(
        EngineError, match=r"cannot load .*a\.engine \(\d+ bytes\): .*truncated.*--rebuild"
    ) as told:
        load_plan(path, trt(), folder=FOLDER)
    assert told.value.exit_code == 4


def test_a_graph_under_the_name_of_a_plan_is_refused(digits_artifact: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.engine", (digits_artifact / "backbone.onnx").read_bytes())
    with pytest.raises(EngineError, match=r"magicTag is wrong.*no plan at all"):
        load_plan(path, trt(), folder=FOLDER)


def test_a_missing_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"absent\.engine cannot be read: No such file"):
        load_plan(tmp_path / "absent.engine", trt(), folder=FOLDER)


def test_a_plan_that_device_memory_cannot_hold_is_not_deserialised(tmp_path: Path) -> None:
    flavour = trt()
    path = written(tmp_path / "a.engine", plan_of(bytes(3 * 2**20)))
    with pytest.raises(EngineError, match=r"needs 3 MiB of device memory at least, and 2 MiB are free"):
        load_plan(path, flavour, folder=FOLDER, free_bytes=lambda: 2 * 2**20)
    assert flavour.module.calls["deserialize_cuda_engine"] == 0


@pytest.mark.parametrize("content", [b"", b"no plan", bytes(4096)])
def test_tensorrt_rtx_itself_refuses_what_is_no_plan(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    path = written(tmp_path / "a.engine", content)
    with pytest.raises(EngineError, match=r"TensorRT-RTX .* cannot load .*a\.engine .*--rebuild"):
        load_plan(path, find_flavour("tensorrt-rtx"), folder=FOLDER)


def test_what_tensorrt_rtx_compiled_is_kept_for_the_next_start(digits_artifact: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.engine", plan_of((digits_artifact / "backbone.onnx").read_bytes()))
    compiled = []
    for _ in range(2):
        flavour = Flavour("tensorrt-rtx", Module("1.7.1", rtx=True), "1.7.1")
        cache = runtime_cache(Cache(tmp_path / "cache"), "ab" * 32, flavour, RTX)
        plan = load_plan(path, flavour, folder=FOLDER, cache=cache)
        runner = PlanRunner(plan, TorchMemory(torch.device("cpu"), cuda=None))
        TensorRtEngine(runner, "plan").run(pictures())
        (made,) = flavour.module.caches
        compiled.append(made.taken)
    assert compiled == [None, b"compiled 1"]


def test_kernels_of_a_batch_range_are_compiled_at_the_first_run_and_kept_at_once_and_at_the_end(
    digits_artifact: Path, tmp_path: Path
) -> None:
    graph = (digits_artifact / "backbone.onnx").read_bytes()
    path = written(tmp_path / "a.engine", plan_of(graph, smallest=1, largest=4))
    kept, facts = Cache(tmp_path / "cache"), {"plan": "a"}
    flavour = Flavour("tensorrt-rtx", Module(rtx=True), "1.7.1")
    cache = RuntimeCache(flavour.module, kept, facts)
    plan = load_plan(path, flavour, folder=FOLDER, cache=cache)
    engine = TensorRtEngine(PlanRunner(plan, TorchMemory(torch.device("cpu"), cuda=None)), "plan")
    engine.run(pictures(2))
    assert kept.load("runtime", facts) == b"compiled 2"
    flavour.module.caches[0].batches.add(4)  # compiled later
    engine.close()
    assert kept.load("runtime", facts) == b"compiled 2 4"


def test_kernels_of_another_driver_plan_or_version_are_not_read(tmp_path: Path) -> None:
    kept, rtx = Cache(tmp_path), Flavour("tensorrt-rtx", Module(rtx=True), "1.7.1")
    others = [
        runtime_cache(
            kept, digest, Flavour("tensorrt-rtx", None, version), Device("GPU", "sm86", 1, {"driver": d})
        )
        for digest, version, d in (
            ("a", "1.7.1", "580"),
            ("b", "1.7.1", "580"),
            ("a", "1.7.2", "580"),
            ("a", "1.7.1", "590"),
        )
    ]
    facts = [cache._facts for cache in others if cache is not None]
    assert len({tuple(sorted(fact.items())) for fact in facts}) == 4
    assert runtime_cache(kept, "a", trt(), RTX) is None, "TensorRT proper has no such cache"
    assert rtx.name == "tensorrt-rtx"


def test_kernels_that_tensorrt_rtx_refuses_are_compiled_anew(digits_artifact: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.engine", plan_of((digits_artifact / "backbone.onnx").read_bytes()))
    kept, facts = Cache(tmp_path / "cache"), {"plan": "a"}
    kept.store("runtime", facts, b"of another GPU")
    flavour = Flavour("tensorrt-rtx", Module(rtx=True), "1.7.1")
    plan = load_plan(path, flavour, folder=FOLDER, cache=RuntimeCache(flavour.module, kept, facts))
    TensorRtEngine(PlanRunner(plan, TorchMemory(torch.device("cpu"), cuda=None)), "plan").run(pictures())
    assert kept.load("runtime", facts) == b"compiled 1"
