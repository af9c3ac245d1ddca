"""Running a plan: addresses, buffers, batches, CUDA graphs, in PyTorch's memory and in pycuda's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.engines.base import device_of
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.tensorrt.executor import PlanRunner, TensorRtEngine, TensorRtTorchEngine, padded_batch
from moase_edge.engines.tensorrt.flavour import Flavour
from moase_edge.engines.tensorrt.memory import DeviceMemory
from moase_edge.engines.tensorrt.plan import load_plan
from moase_edge.engines.tensorrt.pycuda_memory import PycudaMemory
from moase_edge.engines.tensorrt.torch_memory import TorchMemory
from moase_edge.errors import EngineError
from tests.engines.tensorrt.cuda_stand_in import Driver, TorchCuda
from tests.engines.tensorrt.stand_in import Module, plan_of


def pictures(batch: int = 1, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((batch, 3, 32, 32)).astype(np.float32)


def host_memory() -> TorchMemory:
    return TorchMemory(torch.device("cpu"), cuda=None)


def runner_over(
    graph: Path, folder: Path, memory: DeviceMemory, module: Module | None = None, **plan: int
) -> PlanRunner:
    path = folder / "backbone.engine"
    path.write_bytes(plan_of(graph.read_bytes(), **plan))
    flavour = Flavour("tensorrt", module or Module(), "10.9.0")
    return PlanRunner(load_plan(path, flavour, folder=folder), memory)


@pytest.fixture
def graph(steerable_artifact: Path) -> Path:
    return steerable_artifact / "backbone.onnx"


@pytest.fixture
def reference(graph: Path) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(graph)


MEMORIES: list[Callable[[], DeviceMemory]] = [host_memory, lambda: PycudaMemory(Driver())]


@pytest.mark.parametrize("memory", MEMORIES, ids=["torch", "pycuda"])
def test_a_plan_answers_as_its_graph_does_steered_or_not(
    memory: Callable[[], DeviceMemory], graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    engine = TensorRtEngine(runner_over(graph, tmp_path, memory()), "plan")
    plain = reference.run(pictures())
    shift = 0.1 * np.ones((1, *reference._blocks), np.float32)  # type: ignore[misc]
    for given, expected in ((None, plain), (shift, reference.run(pictures(), shift)), (None, plain)):
        found = engine.run(pictures(), given)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert value.dtype == np.float32
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_answers_on_the_device_are_the_memory_that_the_plan_writes_to(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    engine = TensorRtTorchEngine(runner_over(graph, tmp_path, host_memory()), "plan", device="cpu")
    taps = [engine.run_on_device(pictures(seed=seed))["mid"] for seed in range(4)]
    assert taps[0].data_ptr() == taps[2].data_ptr() != taps[1].data_ptr() == taps[3].data_ptr()
    np.testing.assert_array_equal(taps[3].numpy(), reference.run(pictures(seed=3))["mid"])
    np.testing.assert_array_equal(taps[2].numpy(), reference.run(pictures(seed=2))["mid"])
    assert device_of(engine) == "cpu"


def test_the_taps_of_a_frame_outlive_the_next_run_and_any_answer_to_the_host(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    engine = TensorRtTorchEngine(runner_over(graph, tmp_path, host_memory()), "plan", device="cpu")
    first = engine.run_on_device(pictures(seed=0))["mid"]
    engine.run_on_device(pictures(seed=1))
    for seed in (2, 3, 4):
        engine.run(pictures(seed=seed))
    np.testing.assert_array_equal(first.numpy(), reference.run(pictures(seed=0))["mid"])


def test_buffers_contexts_and_addresses_are_made_once(graph: Path, tmp_path: Path) -> None:
    module = Module()
    engine = TensorRtTorchEngine(runner_over(graph, tmp_path, host_memory(), module), "plan", device="cpu")
    for seed in range(6):
        engine.run_on_device(pictures(seed=seed))
    ports = 6  # images, shift; mid, out, logits, token_means
    assert module.calls["create_execution_context"] == 2
    assert module.calls["set_tensor_address"] == 2 * ports
    assert module.calls["execute_async_v3"] == 6


def test_half_precision_taps_are_handed_over_as_float32(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    engine = TensorRtTorchEngine(runner_over(graph, tmp_path, host_memory(), half=True), "plan", device="cpu")
    expected = reference.run(pictures())["mid"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(engine.run_on_device(pictures())["mid"].numpy(), expected)
    found = engine.run(pictures())["mid"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_a_batch_within_the_range_is_padded_and_the_padding_left_out(
    batch: int, graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    engine = TensorRtEngine(runner_over(graph, tmp_path, host_memory(), smallest=2, largest=4), "plan")
    found, expected = engine.run(pictures(batch)), reference.run(pictures(batch))
    for name, value in found.items():
        assert len(value) == batch
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("batch", "smallest", "largest", "expected"),
    [(1, 1, 1, 1), (1, 4, 4, 4), (3, 1, 16, 4), (5, 1, 16, 8), (9, 1, 12, 12), (1, 2, 8, 2), (8, 1, 8, 8)],
)
def test_few_batch_sizes_are_run(batch: int, smallest: int, largest: int, expected: int) -> None:
    assert padded_batch(batch, smallest, largest) == expected


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (pictures(2), r"\(2, 3, 32, 32\), float32"),
        (pictures(0), r"\(0, 3, 32, 32\), float32"),
        (np.zeros((1, 3, 31, 32), np.float32), r"\(1, 3, 31, 32\), float32"),
        (np.zeros((3, 32, 32), np.float32), r"\(3, 32, 32\), float32"),
        (np.zeros((1, 3, 32, 32), np.float64), r"\(1, 3, 32, 32\), float64"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(
    images: NDArray[np.float32], got: str, graph: Path, tmp_path: Path
) -> None:
    engine = TensorRtEngine(runner_over(graph, tmp_path, host_memory()), "plan")
    with pytest.raises(EngineError, match=rf"batch of shape {got}; this plan takes up to 1 frames of 3 x 32 x 32"):
        engine.run(images)
    assert engine.run(pictures())["logits"].shape == (1, 10), "a refused batch broke the engine"


def test_a_shift_of_another_shape_is_refused(graph: Path, tmp_path: Path) -> None:
    engine = TensorRtEngine(runner_over(graph, tmp_path, host_memory()), "plan")
    with pytest.raises(EngineError, match="the shift has shape"):
        engine.run(pictures(), np.zeros((1, 1, 1), np.float32))


def test_a_run_that_tensorrt_refuses_is_told_in_its_words(graph: Path, tmp_path: Path) -> None:
    module = Module()
    engine = TensorRtEngine(runner_over(graph, tmp_path, host_memory(), module), "plan")
    module.runs = False
    with pytest.raises(EngineError, match=r"TensorRT 10\.9\.0 refused a run of .*launch failed"):
        engine.run(pictures())


def test_a_context_for_which_memory_does_not_suffice_is_refused(graph: Path, tmp_path: Path) -> None:
    engine = TensorRtEngine(runner_over(graph, tmp_path, host_memory(), Module(memory=False)), "plan")
    with pytest.raises(
        EngineError, match=r"OutOfMemory \(Requested size .*device memory does not suffice"
    ) as told:
        engine.run(pictures())
    assert told.value.exit_code == 4


def test_a_closed_engine_does_not_run(graph: Path, tmp_path: Path) -> None:
    engine = TensorRtEngine(runner_over(graph, tmp_path, host_memory()), "plan")
    engine.run(pictures())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="this engine was closed"):
        engine.run(pictures())


class GraphMemory(TorchMemory):
    """Host memory whose captures go to a stand-in of `torch.cuda`, which replays what is enqueued meanwhile."""

    def __init__(self, cuda: TorchCuda) -> None:
        super().__init__(torch.device("cpu"), cuda=None)
        self._capturing = TorchMemory(torch.device("cpu"), cuda=cuda)
        self.cuda = cuda

    def stream(self) -> int:
        return self._capturing.stream()

    def captured(self, enqueue, capturable):  # type: ignore[no-untyped-def]
        def noted(stream: int) -> None:
            if self.cuda.graphs and not self.cuda.graphs[-1].work:
                self.cuda.graphs[-1].work.append(lambda: enqueue(stream))
            self.cuda.log.append(f"enqueue on {stream}")
            enqueue(stream)

        return self._capturing.captured(noted, capturable)


def test_a_graph_is_captured_once_a_set_of_buffers_after_one_enqueue_on_a_stream_of_its_own(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    cuda, module = TorchCuda(), Module()
    runner = runner_over(graph, tmp_path, GraphMemory(cuda), module)
    engine = TensorRtTorchEngine(runner, "plan", device="cpu")
    for seed in range(5):
        found = engine.run_on_device(pictures(seed=seed))["logits"].numpy().copy()
        np.testing.assert_array_equal(found, reference.run(pictures(seed=seed))["logits"])
    one = ["11 waits for 7", "enqueue on 11", "synchronize 11", "capture on 11, thread_local", "enqueue on 11"]
    assert cuda.log == 2 * [*one, "captured"]
    assert [replayed.replays for replayed in cuda.graphs] == [3, 2]
    assert module.calls["create_execution_context"] == 2, "a graph has a context of its own"
    assert engine.has_graph


def test_a_plan_that_cannot_be_captured_runs_without_a_graph(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = Module()
    runner = runner_over(graph, tmp_path, GraphMemory(TorchCuda(fails=True)), module)
    with caplog.at_level(logging.WARNING):
        found = TensorRtEngine(runner, "plan").run(pictures())
    np.testing.assert_array_equal(found["logits"], reference.run(pictures())["logits"])
    assert "runs without: operation not permitted when stream is capturing" in caplog.text
    assert module.streams[-1] == 7, "it runs on the current stream"


def test_a_plan_of_which_tensorrt_says_that_it_cannot_be_captured_is_told_of(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = TorchCuda()
    runner = runner_over(graph, tmp_path, GraphMemory(cuda), Module(capturable=False))
    engine = TensorRtTorchEngine(runner, "plan", device="cpu")
    assert not engine.has_graph, "nothing ran yet"
    with caplog.at_level(logging.WARNING):
        found = engine.run(pictures())
    np.testing.assert_array_equal(found["logits"], reference.run(pictures())["logits"])
    assert "it runs without: TensorRT 10.9.0 says that it cannot be captured" in caplog.text
    assert not cuda.graphs
    assert not engine.has_graph


def test_an_enqueue_that_is_refused_while_capturing_is_no_end_either(
    graph: Path, reference: OnnxRuntimeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(GraphMemory):
        def captured(self, enqueue, capturable):  # type: ignore[no-untyped-def]
            raise EngineError("TensorRT refused a run")

    runner = runner_over(graph, tmp_path, Refusing(TorchCuda()), Module())
    found = TensorRtEngine(runner, "plan").run(pictures())
    np.testing.assert_array_equal(found["logits"], reference.run(pictures())["logits"])
    assert "runs without: TensorRT refused a run" in caplog.text


def test_pycuda_shares_the_primary_context_and_lets_go_of_it(graph: Path, tmp_path: Path) -> None:
    driver, module = Driver(), Module()
    engine = TensorRtEngine(runner_over(graph, tmp_path, PycudaMemory(driver), module), "plan")
    assert driver.log == ["init", "retain_primary_context", "push"]
    engine.run(pictures())
    assert module.streams == [5], "pycuda's own stream"
    assert set(driver.log[3:]) == {"synchronize"}
    engine.close()
    engine.close()
    assert driver.log.count("pop") == 1


def test_pycuda_without_a_gpu_or_memory_is_an_error_of_the_engine(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"pycuda finds no NVIDIA GPU: .*invalid device ordinal"):
        PycudaMemory(Driver(gpus=0))
    engine = TensorRtEngine(runner_over(graph, tmp_path, PycudaMemory(Driver(bytes_free=1000))), "plan")
    with pytest.raises(EngineError, match=r"no memory for a tensor of 1 x 3 x 32 x 32: .*out of memory"):
        engine.run(pictures())


def test_plans_and_graphs_are_engines_of_one_kind(graph: Path, tmp_path: Path) -> None:
    assert device_of(OnnxRuntimeEngine(graph)) == "cpu"
    runner = runner_over(graph, tmp_path, host_memory())
    assert device_of(TensorRtTorchEngine(runner, "plan", device="cuda:0")) == "cuda:0"
    assert device_of(TensorRtEngine(runner, "plan")) == "cpu"
