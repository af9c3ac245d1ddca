"""ONNX Runtime with bound tensors, here in host memory; on a GPU it was not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision
from moase_edge.engines import onnx_runtime_device
from moase_edge.engines.base import DeviceEngine, device_of
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, Provider, ProviderOptions, open_session
from moase_edge.engines.onnx_runtime_device import OnnxRuntimeDeviceEngine, provider_options
from moase_edge.errors import EngineError


def pictures(batch: int = 1, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((batch, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def engine(steerable_artifact: Path) -> OnnxRuntimeDeviceEngine:
    model = steerable_artifact / "backbone.onnx"
    return OnnxRuntimeDeviceEngine(model, provider="cpu", device=torch.device("cpu"))


@pytest.fixture
def reference(steerable_artifact: Path) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(steerable_artifact / "backbone.onnx")


@pytest.mark.parametrize("batch", [1, 3])
def test_bound_tensors_hold_the_same_answers_steered_or_not(
    batch: int, engine: OnnxRuntimeDeviceEngine, reference: OnnxRuntimeEngine
) -> None:
    shift = 0.1 * np.ones((batch, *reference._blocks), np.float32)  # type: ignore[misc]
    for given in (None, shift, None):
        expected = reference.run(pictures(batch), given)
        for found in (engine.run(pictures(batch), given), engine.run_on_device(pictures(batch), given)):
            assert found.keys() == expected.keys()
            for name, value in found.items():
                np.testing.assert_array_equal(np.asarray(value), expected[name], err_msg=name)


def test_two_sets_of_buffers_take_turns_and_host_answers_disturb_neither(engine: OnnxRuntimeDeviceEngine) -> None:
    taps = [engine.run_on_device(pictures(seed=seed))["mid"] for seed in range(2)]
    kept = [tap.clone() for tap in taps]
    host = engine.run(pictures(seed=2))["mid"]
    assert all(torch.equal(tap, copy) for tap, copy in zip(taps, kept, strict=True))
    assert engine.run_on_device(pictures(seed=3))["mid"].data_ptr() == taps[0].data_ptr()
    unchanged = host.copy()
    engine.run(pictures(seed=4))
    np.testing.assert_array_equal(host, unchanged)


def test_it_is_an_engine_of_its_device(engine: OnnxRuntimeDeviceEngine, reference: OnnxRuntimeEngine) -> None:
    assert isinstance(engine, DeviceEngine)
    assert not isinstance(reference, DeviceEngine)
    assert device_of(engine) == "cpu"
    assert engine.name == f"ONNX Runtime {onnxruntime.__version__} (CPU)"


@pytest.mark.parametrize("shape", [(1, 3, 31, 32), (3, 32, 32)])
def test_a_batch_that_does_not_fit_is_refused(shape: tuple[int, ...], engine: OnnxRuntimeDeviceEngine) -> None:
    with pytest.raises(EngineError, match=r"batch of shape .*; it expects \[.*3, 32, 32\], float32"):
        engine.run(np.zeros(shape, np.float32))


def test_too_little_memory_is_told_of_when_it_opens_and_when_a_larger_batch_comes(
    engine: OnnxRuntimeDeviceEngine, steerable_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(EngineError, match=r"no memory for the tensors of 5 frames: CUDA out of memory"):
        engine.run(pictures(5))
    with pytest.raises(EngineError, match=r"no memory for the tensors of 1 frames: CUDA out of memory"):
        OnnxRuntimeDeviceEngine(steerable_artifact / "backbone.onnx", provider="cpu", device=torch.device("cpu"))


def test_a_closed_engine_does_not_run(engine: OnnxRuntimeDeviceEngine) -> None:
    engine.close()
    with pytest.raises(EngineError, match="this engine was closed"):
        engine.run_on_device(pictures())


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_missing_is_refused(provider: Provider, steerable_artifact: Path) -> None:
    if len(onnxruntime.get_available_providers()) > 2:
        pytest.skip("this ONNX Runtime has more than the CPU")
    with pytest.raises(EngineError, match=r"ONNX Runtime was asked for \w+ExecutionProvider and has only"):
        OnnxRuntimeDeviceEngine(
            steerable_artifact / "backbone.onnx", provider=provider, device=torch.device("cpu")
        )


def test_each_provider_is_given_its_own_options(tmp_path: Path) -> None:
    assert provider_options("cpu", stream=None, graphs=False, cache=None) == {"cpu": {}}
    on_stream = {"device_id": "1", "user_compute_stream": "7"}
    assert provider_options("cuda", device=1, stream=7, graphs=True, cache=tmp_path) == {
        "cuda": {**on_stream, "enable_cuda_graph": "1"}
    }
    assert provider_options("tensorrt", device=1, stream=7, graphs=True, cache=tmp_path) == {
        "tensorrt": {
            **on_stream,
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(tmp_path),
            "trt_cuda_graph_enable": "1",
        },
        "cuda": on_stream,
    }


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_tensorrt_is_allowed_the_types_of_the_graph_and_cuda_needs_no_word(precision: Precision) -> None:
    def options(provider: Provider) -> ProviderOptions:
        return provider_options(provider, stream=None, graphs=False, cache=None, precision=precision)

    assert options("tensorrt") == {"tensorrt": {f"trt_{precision}_enable": "1"}, "cuda": {}}
    assert options("cuda") == {"cuda": {}}


@pytest.fixture
def one_graph(steerable_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> OnnxRuntimeDeviceEngine:
    """The TensorRT provider with CUDA graphs, which the CPU stands in for."""

    def on_the_cpu(model: Path, **_asked: object) -> object:
        return open_session(model, provider="cpu")

    monkeypatch.setattr(onnx_runtime_device, "open_session", on_the_cpu)
    model = steerable_artifact / "backbone.onnx"
    return OnnxRuntimeDeviceEngine(model, provider="tensorrt", device=torch.device("cpu"), graphs=True)


def test_with_one_graph_every_run_is_in_the_same_buffers_and_answers_are_copies(
    one_graph: OnnxRuntimeDeviceEngine, reference: OnnxRuntimeEngine
) -> None:
    first = one_graph.run_on_device(pictures(seed=0))["mid"]
    bound = list(one_graph._bound.values())
    one_graph.run_on_device(pictures(seed=1))
    one_graph.run(pictures(seed=2))
    assert list(one_graph._bound.values()) == bound
    assert len(bound) == 1
    np.testing.assert_array_equal(first.numpy(), reference.run(pictures(seed=0))["mid"])


def test_one_graph_takes_one_batch_size(one_graph: OnnxRuntimeDeviceEngine) -> None:
    one_graph.run(pictures(1))
    with pytest.raises(EngineError, match=r"here of a batch of 1; got one of 3. Open it without CUDA graphs"):
        one_graph.run(pictures(3))
