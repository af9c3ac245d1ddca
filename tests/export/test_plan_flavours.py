"""What TensorRT 10 and 11 are told to build, on a stand-in: they come from NVIDIA alone, and want a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.flavour import find_flavour
from moase_edge.errors import ExportError
from moase_edge.export.plan_builder import BuiltPlan, build_plan
from tests.engines import tensorrt_stand_in
from tests.export import graphs

VERSIONS = ["10.3.0", "11.1.0.106"]


@pytest.fixture(scope="module")
def digits(steerable_artifact: Path) -> bytes:
    return (steerable_artifact / "backbone.onnx").read_bytes()


def build(graph: bytes, *, timings: bytes | None = None, **settings: object) -> BuiltPlan:
    chosen = PlanSettings.model_validate(settings)
    return build_plan(graph, find_flavour("tensorrt"), chosen, target=None, timings=timings)


def told(graph: bytes, **settings: Any) -> dict[str, Any]:
    return dict(json.loads(build(graph, **settings).plan))


@pytest.mark.parametrize("version", VERSIONS)
def test_networks_are_strongly_typed_and_static_and_float32_is_no_tf32(
    version: str, digits: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt_stand_in.install(monkeypatch, version)
    assert told(digits) == {
        "strongly_typed": True,
        "shapes": {"images": [1, 3, 32, 32], "shift": [1, 6, 64]},
        "profiles": [],
        "flags": [],
        "hardware": "NONE",
        "workspace": None,
        "timings": "",
    }


def test_a_plan_of_tensorrt_rtx_takes_no_memory_while_it_runs_so_that_a_graph_can_be_captured(
    digits: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt_stand_in.install(monkeypatch, "1.7.1", "tensorrt_rtx")
    built = build_plan(digits, find_flavour("tensorrt-rtx"), PlanSettings(), target=None)
    assert json.loads(built.plan)["flags"] == ["REQUIRE_USER_ALLOCATION"]


def test_every_setting_reaches_the_builder(digits: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt_stand_in.install(monkeypatch)
    found = told(
        digits,
        batch=(1, 2, 8),
        workspace_mib=64,
        tf32=True,
        version_compatible=True,
        hardware_compatible=True,
    )
    sizes = (1, 2, 8)
    ranges = {"images": [[b, 3, 32, 32] for b in sizes], "shift": [[b, 6, 64] for b in sizes]}
    assert found["profiles"] == [ranges]
    assert found["workspace"] == 64 << 20
    assert found["flags"] == ["TF32", "VERSION_COMPATIBLE"]
    assert found["hardware"] == "AMPERE_PLUS"


def test_timings_of_an_earlier_build_are_used_and_those_of_another_device_are_not(
    digits: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt_stand_in.install(monkeypatch)
    first = build(digits)
    assert first.timings == b"timings"
    assert told(digits, timings=first.timings)["timings"] == "timings"
    assert told(digits, timings=b"of another device")["timings"] == ""


@pytest.mark.parametrize(
    ("says", "told_as"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)", r"OutOfMemory.*Free memory on the"),
        ("Error Code 10: Internal Error (Could not find any implementation for node node_linear_1.)",
         r"at the node node_linear_1 \(operator \w+, in the PyTorch module blocks\.0\.attn\.proj\): Internal"),
        ("Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)",
         r"could not build the plan: Internal Error .*report this"),
    ],
)  # fmt: skip
def test_a_build_that_fails_says_why_and_what_to_do(
    says: str, told_as: str, digits: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt_stand_in.install(monkeypatch).Builder.fails = says
    with pytest.raises(ExportError, match=told_as):
        build(digits)


def test_an_unknown_operator_is_named_with_its_node_and_module(
    digits: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt_stand_in.install(monkeypatch)
    with pytest.raises(ExportError, match=r"operator Frobnicate, in the PyTorch module blocks\.0\.attn"):
        build(graphs.with_unknown_operator(digits))


def test_what_the_bindings_raise_is_an_export_error(digits: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object, _logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    tensorrt_stand_in.install(monkeypatch).Builder.__init__ = refuse
    with pytest.raises(ExportError, match=r"TensorRT 10\.3\.0 cannot build a plan: .*nullptr"):
        build(digits)
