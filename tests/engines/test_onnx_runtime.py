from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, available_providers
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import ConfigError, EngineError
from moase_edge.models.build import build_backbone
from moase_edge.models.split import FrozenBackbone, sidecar_spec

OUTPUTS = ("mid", "out", "logits")
cpu_only = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)


def pictures(batch: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((batch, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def model(digits_artifact: Path) -> Path:
    return digits_artifact / "backbone.onnx"


@pytest.fixture
def engine(model: Path) -> Iterator[OnnxRuntimeEngine]:
    opened = OnnxRuntimeEngine(model, threads=1)
    yield opened
    opened.close()


@pytest.mark.parametrize("batch", [1, 3])
def test_answers_equal_those_of_pytorch(engine: OnnxRuntimeEngine, batch: int) -> None:
    backbone = build_backbone("digits_vit").model
    reference = TorchEngine(FrozenBackbone(backbone, sidecar_spec(backbone, MoaseSettings(), 1)), OUTPUTS)
    expected, found = reference.run(pictures(batch)), engine.run(pictures(batch))
    assert tuple(found) == tuple(expected) == OUTPUTS
    assert found["logits"].shape == (batch, 10)
    for name in OUTPUTS:
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_model_is_taken_as_bytes_too(engine: OnnxRuntimeEngine, model: Path) -> None:
    found = OnnxRuntimeEngine(model.read_bytes(), threads=1).run(pictures(2))
    np.testing.assert_array_equal(found["logits"], engine.run(pictures(2))["logits"])


def test_a_path_that_is_no_utf8_is_loaded_like_any_other(model: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copyfile(model, path)
    with closing(OnnxRuntimeEngine(path, threads=1)) as engine:
        assert engine.run(pictures(1)).keys() == set(OUTPUTS)


def test_outputs_belong_to_the_caller(engine: OnnxRuntimeEngine) -> None:
    first = engine.run(pictures(1))["logits"]
    kept = first.copy()
    engine.run(-pictures(1))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (np.zeros((1, 3, 31, 32), np.float32), r"\(1, 3, 31, 32\), float32"),
        (np.zeros((1, 1, 32, 32), np.float32), r"\(1, 1, 32, 32\), float32"),
        (np.zeros((3, 32, 32), np.float32), r"\(3, 32, 32\), float32"),
        (np.zeros((1, 3, 32, 32), np.float64), r"\(1, 3, 32, 32\), float64"),
        (np.zeros((1, 3, 32, 32), np.uint8), r"\(1, 3, 32, 32\), uint8"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(
    engine: OnnxRuntimeEngine, images: NDArray[np.float32], got: str
) -> None:
    with pytest.raises(EngineError, match=rf"batch of shape {got}; it expects \[.*3, 32, 32\], float32"):
        engine.run(images)
    assert engine.run(pictures(1))["logits"].shape == (1, 10), "a refused batch broke the engine"


def test_a_closed_engine_does_not_run(model: Path) -> None:
    closed = OnnxRuntimeEngine(model, threads=1)
    closed.close()
    closed.close()
    with pytest.raises(EngineError, match="this engine was closed"):
        closed.run(pictures(1))


@cpu_only
def test_cuda_is_refused_where_it_is_missing_and_not_replaced_by_the_cpu(model: Path) -> None:
    assert available_providers() == {"cpu"}
    with pytest.raises(EngineError, match=r"asked for CUDAExecutionProvider and has only .*CPU.*--engine ort"):
        OnnxRuntimeEngine(model, provider="cuda")


def test_a_session_that_fell_back_to_the_cpu_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda source, options, providers: session(source, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(EngineError, match="asked for CUDAExecutionProvider and has only CPUExecutionProvider"):
        OnnxRuntimeEngine(model, provider="cuda")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 64])
def test_a_file_of_something_else_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"cannot load .*other\.onnx: .*Export again"):
        OnnxRuntimeEngine(path)
    with pytest.raises(EngineError, match=f"cannot load a model of {len(content)} bytes"):
        OnnxRuntimeEngine(content)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_model_is_refused(model: Path, part: float) -> None:
    content = model.read_bytes()
    with pytest.raises(EngineError, match="cannot load a model of"):
        OnnxRuntimeEngine(content[: int(part * len(content))])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot load .*absent\.onnx"):
        OnnxRuntimeEngine(tmp_path / "absent.onnx")


@pytest.mark.parametrize("threads", [0, -1])
def test_an_engine_without_threads_is_refused(model: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match=f"needs a thread at least, got {threads}"):
        OnnxRuntimeEngine(model, threads=threads)


def test_the_name_says_what_runs_it_and_where(engine: OnnxRuntimeEngine) -> None:
    assert engine.name == f"ONNX Runtime {onnxruntime.__version__} (CPU, 1 threads)"
