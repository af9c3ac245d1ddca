"""What a device needs that has fewer packages than a development machine."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from moase_edge.data.digits import load_digits_split
from tests.blocked import run_blocked

NEVER_NEEDED = ("timm", "onnx", "onnxscript", "torchvision", "sklearn", "scipy")
# Runs the command line and prints its exit code and what it said; standard output of the command comes first.
COMMAND = """
import contextlib, io, json, sys
from moase_edge.cli import main
said = io.StringIO()
code = 0
with contextlib.redirect_stderr(said):
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        code = end.code
print()
print(json.dumps({"code": code, "said": said.getvalue()}))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(load_digits_split("test").images[:5]):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


def command(arguments: list[object], blocked: tuple[str, ...]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line with `blocked` packages missing."""
    shown, _, end = run_blocked(COMMAND, blocked, arguments).strip().rpartition("\n")
    record = json.loads(end)
    return record["code"], shown, record["said"]


@pytest.mark.parametrize("package", ["runtime", "frames"])
def test_runtime_and_frames_import_without_what_prepares_artifacts(package: str) -> None:
    code = f"""
    import importlib, pkgutil, sys
    import moase_edge.{package} as package
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"moase_edge.{package}.{{module.name}}")
    """
    run_blocked(code, NEVER_NEEDED)


def test_everything_but_the_split_method_imports_without_pytorch() -> None:
    code = """
    import importlib, pkgutil, sys
    import moase_edge.runtime as package
    failed = []
    for module in pkgutil.iter_modules(package.__path__):
        try:
            importlib.import_module(f"moase_edge.runtime.{module.name}")
        except ModuleNotFoundError as exc:
            failed.append((module.name, exc.name))
    print(failed)
    """
    found = run_blocked(code, ["torch", "matplotlib", *NEVER_NEEDED]).strip()
    assert found == "[('split', 'torch'), ('split_method', 'torch'), ('streams', 'torch')]"


def test_a_frozen_run_needs_no_pytorch_and_no_matplotlib(
    digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", pictures, "--report", report]
    code, shown, said = command(arguments, ("torch", "matplotlib", *NEVER_NEEDED))
    assert code == 0, said
    assert "answered frozen: 5" in shown
    assert sorted(path.name for path in report.iterdir()) == ["frames.jsonl", "report.html", "summary.json"]
    summary = json.loads((report / "summary.json").read_text())
    assert summary["counts"]["frames"] == 5
    assert summary["latency_ms"]["engine"]["count"] == 5
    page = (report / "report.html").read_text()
    assert "There are no plots, because matplotlib cannot be imported" in page
    assert "moase-edge[plot]" in page
    assert "<table>" in page


def test_adapting_without_pytorch_is_refused_with_the_extra_to_install(
    digits_artifact: Path, pictures: Path
) -> None:
    arguments = ["run", "--adapt", "every", "--artifact", digits_artifact, "--source", pictures]
    code, shown, said = command(arguments, ("torch",))
    assert code == 2
    assert said.startswith("error: PyTorch cannot be imported")
    assert "moase-edge[adapt]" in said
    assert "--adapt off" in said
    assert "Traceback" not in said + shown


def test_a_device_without_an_engine_package_is_told_which_to_install(
    digits_artifact: Path, pictures: Path
) -> None:
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", pictures]
    code, _, said = command(arguments, ("onnxruntime", "torch"))
    assert code == 4
    assert said.startswith("error: onnxruntime is not installed")
    assert "moase-edge[cpu]" in said
