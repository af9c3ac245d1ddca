from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from moase_edge.artifact.store import load_artifact
from moase_edge.config.names import EngineName
from moase_edge.engines import onnx_runtime_device
from moase_edge.engines.base import precision_of
from moase_edge.engines.choose import Choice
from moase_edge.engines.open import open_choice, open_chosen, open_engine, survey
from moase_edge.errors import EngineError

cpu_only = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)


@cpu_only
@pytest.mark.parametrize("name", ["auto", "ort"])
def test_the_cpu_is_taken_where_nothing_else_is_there(
    digits_artifact: Path, name: EngineName, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        engine = open_engine(load_artifact(digits_artifact), name, threads=1)
    assert "(CPU, 1 threads)" in engine.name
    assert engine.run(np.zeros((1, 3, 32, 32), np.float32))["logits"].shape == (1, 10)
    assert not caplog.records, "a machine without CUDA is no reason to warn"


@cpu_only
@pytest.mark.parametrize(
    ("name", "provider"), [("ort-cuda", "CUDAExecutionProvider"), ("ort-tensorrt", "TensorrtExecutionProvider")]
)
def test_a_provider_that_was_asked_for_is_never_replaced(
    digits_artifact: Path, name: EngineName, provider: str
) -> None:
    with pytest.raises(EngineError, match=f"asked for {provider}"):
        open_engine(load_artifact(digits_artifact), name)


def test_what_was_chosen_comes_with_its_precision_and_why(digits_artifact: Path) -> None:
    opened = open_chosen(load_artifact(digits_artifact), "ort", threads=1)
    assert (precision_of(opened.engine), opened.reason) == ("fp32", "it was asked for")


def test_an_engine_of_a_precision_that_the_artifact_lacks_is_refused(digits_artifact: Path) -> None:
    with pytest.raises(EngineError, match="holds no engine"):
        open_engine(load_artifact(digits_artifact), precision="int8")


def test_tensorrt_is_not_imported_for_an_artifact_without_plans(
    digits_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AssertionError("imported")

    monkeypatch.setattr("moase_edge.engines.open.available_flavours", refuse)
    assert survey(load_artifact(digits_artifact)).flavours == {}


@cpu_only
def test_auto_warns_where_a_cuda_provider_does_not_load(
    digits_artifact: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("moase_edge.engines.open.available_providers", lambda: {"cpu", "cuda"})
    with caplog.at_level(logging.WARNING):
        opened = open_chosen(load_artifact(digits_artifact), "auto", threads=1)
    assert "CPU" in opened.engine.name
    assert opened.reason == "no plan fits, and the CPU is left; ort-cuda does not open backbone.onnx"
    assert "the next best is tried: ONNX Runtime was asked for CUDAExecutionProvider" in caplog.text


def test_a_damaged_engine_file_is_refused_when_hashes_are_not_checked(
    digits_artifact: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(digits_artifact, folder)
    model = folder / "backbone.onnx"
    model.write_bytes(model.read_bytes()[:5000])
    with pytest.raises(EngineError, match=r"cannot load .*backbone\.onnx"):
        open_engine(load_artifact(folder, verify=False), "auto", threads=1)


def test_what_onnx_runtime_builds_is_kept_by_the_graphs_hash_and_on_its_gpu(
    digits_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(onnx_runtime_device, "OnnxRuntimeDeviceEngine", lambda _, **options: asked.append(options))
    artifact = load_artifact(digits_artifact)
    entry = artifact.manifest.engines[0]
    open_choice(artifact, Choice("ort-tensorrt", entry, "it was asked for"))
    kept = tmp_path / "ort-tensorrt" / artifact.manifest.files[entry.file]
    assert (asked[0]["cache"], asked[0]["device"].index, kept.is_dir()) == (kept, 1, True)
