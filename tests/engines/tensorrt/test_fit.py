"""What the manifest says of a plan, against the device at hand."""

from __future__ import annotations

from typing import Any

import pytest

from moase_edge.artifact.manifest import BuiltFor, EngineEntry, EngineRuntime
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.fit import differences

HERE = Device("NVIDIA GeForce RTX 3060", "sm86", 12288, {"cuda": "13.0", "driver": "580.10.01"})


def entry(runtime: EngineRuntime = "tensorrt", version: str = "10.3.0", **built: Any) -> EngineEntry:
    versions = {runtime: version, **built.pop("versions", {})}
    fields = {"target": "sm86", **built, "versions": versions}
    return EngineEntry(file="a.engine", runtime=runtime, source="a.onnx", built_for=BuiltFor(**fields))


@pytest.mark.parametrize(
    "fitting",
    [
        entry(),
        entry(gpu=HERE.gpu),
        entry(versions={"driver": "580.95"}),
        entry(versions={"driver": "550.54"}),
        entry(version="10.1.0", version_compatible=True),
        entry(target="sm80", gpu="NVIDIA A100", hardware_compatible=True),
        entry(target="sm89", hardware_compatible=True),
    ],
)
def test_a_plan_that_fits_differs_in_nothing(fitting: EngineEntry) -> None:
    assert differences(fitting, "tensorrt", "10.3.0", HERE) == []


@pytest.mark.parametrize(
    ("other", "clause"),
    [
        (entry(target="sm87"), "it was built for compute capability sm87, this GPU has sm86"),
        (entry(gpu="NVIDIA RTX A4000"), "it was built on NVIDIA RTX A4000, this is NVIDIA GeForce RTX 3060"),
        (entry(version="10.3.1"), "it was built with tensorrt 10.3.1, here is 10.3.0"),
        (entry(version="11.0.0", version_compatible=True), "it was built with tensorrt 11.0.0, here is 10.3.0"),
        (entry(versions={"driver": "590.1"}), "it was built with driver 590.1, here is the older 580.10.01"),
    ],
)
def test_what_differs_is_said_with_both_values(other: EngineEntry, clause: str) -> None:
    assert differences(other, "tensorrt", "10.3.0", HERE) == [clause]


def test_a_hardware_compatible_plan_of_a_desktop_is_none_for_a_jetson_and_the_other_way_round() -> None:
    orin = Device("Orin", "sm87", 8192, {"cuda": "12.6", "l4t": "36.4"})
    desktop = entry(gpu="NVIDIA RTX A6000", versions={"cuda": "12.6"}, hardware_compatible=True)
    assert differences(desktop, "tensorrt", "10.3.0", orin) == ["it was built on no Jetson, this is a Jetson"]
    jetson = entry(target="sm87", gpu="Orin", versions={"l4t": "36.4"}, hardware_compatible=True)
    assert differences(jetson, "tensorrt", "10.3.0", HERE) == ["it was built on a Jetson, this is no Jetson"]
    assert differences(jetson, "tensorrt", "10.3.0", orin) == []


def test_every_difference_is_said_at_once() -> None:
    other = entry(version="9.0", target="sm75", gpu="Tesla T4", versions={"driver": "600.1"})
    assert len(differences(other, "tensorrt", "10.3.0", HERE)) == 4
    (clause,) = differences(entry("tensorrt-rtx", "10.3.0"), "tensorrt", "10.3.0", HERE)
    assert clause == "it is a plan of tensorrt-rtx, this is tensorrt"


def test_hardware_compatible_plans_run_from_ampere_on() -> None:
    turing = Device("Tesla T4", "sm75", 16384, {})
    assert differences(entry(hardware_compatible=True), "tensorrt", "10.3.0", turing)


def test_a_driver_that_nobody_knows_is_no_difference() -> None:
    jetson = Device(HERE.gpu, HERE.target, 8192, {"l4t": "36.4"})
    assert differences(entry(versions={"driver": "590.1"}), "tensorrt", "10.3.0", jetson) == []


def test_a_graph_is_no_plan() -> None:
    found = differences(EngineEntry(file="a.onnx", opset=18), "tensorrt", "10.3.0", HERE)
    assert found == ["a.onnx is an ONNX graph and no plan"]
