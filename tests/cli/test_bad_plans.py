"""What `run` says of a plan that does not fit the machine, or is none: a stand-in plays TensorRT and the GPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.store import MANIFEST, load_artifact, write_manifest
from moase_edge.cli import main
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.torch_memory import TorchMemory
from tests.engines.tensorrt.stand_in import Module
from tests.engines.tensorrt.test_open import ORIN, PLAN, add_plan, on_gpu

RTX_3060 = Device("NVIDIA GeForce RTX 3060", "sm86", 12288, {"cuda": "13.0", "driver": "580.10"})


@pytest.fixture
def folder(steerable_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact with a plan in fp16 for an Orin."""
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    return add_plan(Path(shutil.copytree(steerable_artifact, tmp_path / "digits")))


def run(folder: Path, source: Path, capsys: pytest.CaptureFixture[str], engine: str) -> tuple[int, str]:
    """Exit code and standard error of a frame in the named engine."""
    more = ["--max-frames", "1", "--adapt", "off", "--report", str(folder.parent / engine)]
    with pytest.raises(SystemExit) as end:
        main(["run", "--artifact", str(folder), "--source", str(source), "--engine", engine, *more])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return int(end.value.code or 0), " ".join(said.split())


@pytest.mark.parametrize(
    ("device", "trt", "words"),
    [
        (RTX_3060, Module(), "sm87, this GPU has sm86; it was built on Orin, this is NVIDIA GeForce RTX 3060."),
        (ORIN, Module("10.3.0"), "it was built with tensorrt 10.9.0, here is 10.3.0"),
        (ORIN, Module("8.6.2"), "TensorRT 8.6.2 is too old; 10.3 or newer is needed"),
        (ORIN, None, "TensorRT is not installed. A Jetson has it"),
        (None, Module(), "no NVIDIA GPU is found, and a plan runs on nothing else"),
        (ORIN, Module(memory=False), "Mostly device memory does not suffice: close what else uses the GPU."),
    ],
)
def test_a_plan_that_this_machine_cannot_run_is_refused_and_auto_runs_the_graph(
    device: Device | None,
    trt: Any,
    words: str,
    folder: Path,
    source_digits: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_gpu(monkeypatch, device, trt)
    code, said = run(folder, source_digits, capsys, "tensorrt")
    assert (code, words in said) == (4, True), said
    code, said = run(folder, source_digits, capsys, "auto")
    assert code == 0, said


def test_a_plan_that_takes_more_memory_than_is_free_is_refused(
    folder: Path, source_digits: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu(monkeypatch, ORIN, Module())
    monkeypatch.setattr(TorchMemory, "free_bytes", lambda self: 2**20)
    (folder / PLAN).write_bytes((folder / PLAN).read_bytes() + bytes(2**20))
    sealed(folder)
    code, said = run(folder, source_digits, capsys, "tensorrt")
    assert (code, "MiB of device memory at least, and 1 MiB are free" in said) == (4, True), said


def cut(folder: Path) -> None:
    (folder / PLAN).write_bytes((folder / PLAN).read_bytes()[:2000])


def rename(folder: Path) -> None:
    (folder / PLAN).rename(folder / "backbone.fp16.sm86.trt10.9.engine")


def swap(folder: Path) -> None:
    shutil.copy(folder / "sidecar.safetensors", folder / PLAN)


def sealed(folder: Path) -> None:
    """Have the manifest vouch for what lies in the folder, as after a faulty build."""
    fields = load_artifact(folder, verify=False).manifest.model_dump()
    (folder / MANIFEST).unlink()
    write_manifest(folder, fields)


@pytest.mark.parametrize(
    ("damage", "by_hash", "by_content"),
    [
        (cut, "has changed", "It is truncated, no plan at all, or of another version or machine. Build it here"),
        (rename, "is missing, though the manifest names it", None),
        (swap, "has changed", "It is truncated, no plan at all, or of another version or machine. Build it here"),
    ],
)
def test_a_plan_that_is_cut_short_renamed_or_another_file_is_refused(
    damage: Callable[[Path], None],
    by_hash: str,
    by_content: str | None,
    folder: Path,
    source_digits: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_gpu(monkeypatch, ORIN, Module())
    damage(folder)
    code, said = run(folder, source_digits, capsys, "tensorrt")
    assert (code, by_hash in said) == (4, True), said
    if by_content is not None:
        sealed(folder)
        code, said = run(folder, source_digits, capsys, "tensorrt")
        assert (code, by_content in said) == (4, True), said
