from __future__ import annotations

from collections.abc import Mapping

import pytest

from moase_edge.runtime.doctor.finding import Finding
from moase_edge.runtime.doctor.packages import look_at_packages

BASE = dict.fromkeys(
    ("numpy", "pydantic", "typer", "rich", "opencv-python-headless", "pillow", "safetensors"), "9.0"
)


def found(there: Mapping[str, str], *, python: tuple[int, int, int] = (3, 11, 0)) -> dict[str, Finding]:
    needed = ["numpy>=1.26", "torch>=2.4 ; extra == 'adapt'", "moase-edge[adapt,export] ; extra == 'bench'"]
    return {finding.name: finding for finding in look_at_packages({**BASE, **there}.get, needed, python)}


def test_what_is_there_is_told_with_its_version() -> None:
    findings = found({"torch": "2.15.0"})
    assert (findings["torch"].state, findings["torch"].found) == ("ok", "2.15.0")
    assert (findings["Python"].state, findings["Python"].found) == ("ok", "3.11.0")


def test_what_is_missing_is_told_with_what_it_is_for_and_the_command_that_adds_it() -> None:
    finding = found({})["torch"]
    assert finding.state == "missing"
    assert "to adapt" in finding.advice
    assert "pip install 'moase-edge[adapt]'" in finding.advice


@pytest.mark.parametrize(
    ("version", "state"), [("2.3.1", "bad"), ("2.4", "ok"), ("2.4.0+cpu", "ok"), ("2.10.0", "ok")]
)
def test_versions_are_compared_as_numbers_with_what_moase_edge_needs(version: str, state: str) -> None:
    assert found({"torch": version})["torch"].state == state


def test_a_python_that_is_too_old_is_bad() -> None:
    assert found({}, python=(3, 9, 18))["Python"].state == "bad"


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ({"onnxruntime": "1.20", "onnxruntime-gpu": "1.20"}, "onnxruntime and onnxruntime-gpu"),
        ({"opencv-python": "4.9"}, "opencv-python and opencv-python-headless"),
        ({"torch": "2.15.0+cpu", "torchvision": "0.29.0"}, "torch and torchvision"),
    ],
)
def test_packages_that_are_known_to_fail_together_are_bad(there: dict[str, str], name: str) -> None:
    assert found(there)[name].state == "bad"
    assert name not in found({})


def test_a_missing_torchvision_is_told_of_only_where_timm_is_there() -> None:
    assert found({"torch": "2.15", "timm": "1.0"})["torchvision"].state == "missing"
    assert "torchvision" not in found({"torch": "2.15"})
