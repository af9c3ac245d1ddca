"""What is built for which GPU, and what is refused before anything long begins."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

from moase_edge.config.names import PlanEngine
from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.device import Device
from moase_edge.errors import ConfigError, EngineError
from moase_edge.export import plan_targets
from moase_edge.export.plan_targets import TARGETS, PlanRequest, plan_builds, plan_options
from tests.engines import tensorrt_stand_in

ORIN = Device("Orin", "sm87", 7620, {"cuda": "12.6", "l4t": "36.4.3"})
RTX_3090 = Device("NVIDIA GeForce RTX 3090", "sm86", 24576, {"cuda": "13.0", "driver": "580.65.06"})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a GPU, with TensorRT 10 and TensorRT-RTX."""
    tensorrt_stand_in.install(monkeypatch)
    rtx = tensorrt_stand_in.install(monkeypatch, "1.7.1.116", "tensorrt_rtx")
    rtx.ComputeCapability = SimpleNamespace(__members__=dict.fromkeys(("NONE", "CURRENT", "SM75", "SM86", "SM89")))
    have(monkeypatch, None)


def have(monkeypatch: pytest.MonkeyPatch, device: Device | None) -> None:
    monkeypatch.setattr(plan_targets, "find_device", lambda: device)


def request_of(engine: PlanEngine, *targets: str, **settings: object) -> PlanRequest:
    return PlanRequest(engine, targets, PlanSettings.model_validate(settings))


def built(engine: PlanEngine, *targets: str, **settings: object) -> list[tuple[str, str, str | None]]:
    builds = plan_builds(request_of(engine, *targets, **settings))
    return [(build.flavour.tag, build.target, build.device and build.device.gpu) for build in builds]


@pytest.mark.usefixtures("machine")
def test_tensorrt_rtx_builds_for_every_named_gpu_once_and_needs_none() -> None:
    assert built("tensorrt-rtx", "sm86", "sm89", "sm86") == [("rtx1.7", "sm86", None), ("rtx1.7", "sm89", None)]


@pytest.mark.usefixtures("machine")
def test_the_gpu_at_hand_is_the_target_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, RTX_3090)
    assert built("tensorrt-rtx") == [("rtx1.7", "sm86", None)]
    assert built("tensorrt") == built("tensorrt", "sm86") == [("trt10.3", "sm86", RTX_3090.gpu)]


@pytest.mark.usefixtures("machine")
def test_auto_takes_tensorrt_for_the_gpu_at_hand_and_tensorrt_rtx_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert built("auto", "sm86") == [("rtx1.7", "sm86", None)]
    have(monkeypatch, ORIN)
    assert built("auto") == built("auto", "sm87") == [("trt10.3", "sm87", "Orin")]
    assert built("auto", "sm86") == [("rtx1.7", "sm86", None)]


@pytest.mark.usefixtures("machine")
def test_auto_that_finds_nothing_warns_and_says_why_unless_something_is_required(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert built("auto") == []
    assert "no TensorRT here can build a plan" in caplog.text
    assert "there is no GPU here" in caplog.text
    with pytest.raises(EngineError, match="there is no GPU here"):
        plan_builds(request_of("auto"), required=True)
    with pytest.raises(EngineError, match="can build for sm90"):
        built("auto", "sm90")


def test_auto_without_any_tensorrt_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=r"pip install 'moase-edge\[tensorrt-rtx\]'"):
        plan_builds(request_of("auto"), required=True)


def test_onnx_runtime_needs_no_plan() -> None:
    assert built("ort") == []
    with pytest.raises(ConfigError, match="no plan is asked for"):
        built("ort", "sm86")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("target", ["sm99", "SM86", "86", "orin", ""])
def test_an_unknown_target_is_answered_with_the_known_ones(target: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown target {target}; known are {', '.join(TARGETS)}"):
        built("tensorrt-rtx", "sm86", target)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("target", ["sm87", "sm90"])
def test_a_target_that_tensorrt_rtx_lacks_is_sent_to_the_device(target: str) -> None:
    engines: tuple[PlanEngine, ...] = ("tensorrt-rtx", "auto")
    for engine in engines:
        with pytest.raises(EngineError, match=rf"cannot build for {target}; it can for sm75, .*--engine tensorrt"):
            built(engine, "sm86", target)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("engine", ["ort", "auto", "tensorrt"])
def test_a_target_that_nothing_here_builds_for_can_be_left_to_the_device(
    engine: PlanEngine, caplog: pytest.LogCaptureFixture
) -> None:
    assert plan_builds(request_of(engine, "sm87"), deferred=True) == ()
    assert ("plans for sm87 are left to the device: " in caplog.text) == (engine != "ort")
    assert plan_options(request_of(engine, "sm87"))[-2:] == ["--target", "sm87"]


@pytest.mark.usefixtures("machine")
def test_what_no_device_could_build_is_not_left_to_one() -> None:
    with pytest.raises(EngineError, match=r"cannot build for sm87.*`--precision auto` without --engine"):
        plan_builds(request_of("tensorrt-rtx", "sm87"), deferred=True)
    with pytest.raises(ConfigError, match="unknown target sm99"):
        plan_builds(request_of("ort", "sm99"), deferred=True)
    with pytest.raises(EngineError, match="no TensorRT here can build a plan"):
        plan_builds(request_of("auto"), required=True, deferred=True)


@pytest.mark.usefixtures("machine")
def test_what_can_be_built_is_not_left_to_the_device() -> None:
    assert [build.target for build in plan_builds(request_of("auto", "sm86"), deferred=True)] == ["sm86"]


@pytest.mark.usefixtures("machine")
def test_a_gpu_at_hand_that_tensorrt_rtx_lacks_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, ORIN)
    with pytest.raises(EngineError, match="cannot build for sm87"):
        built("tensorrt-rtx")


@pytest.mark.usefixtures("machine")
def test_tensorrt_proper_builds_for_no_gpu_but_that_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"for the GPU at hand only, and there is none.*--rebuild"):
        built("tensorrt", "sm87")
    have(monkeypatch, RTX_3090)
    with pytest.raises(EngineError, match=r"RTX 3090 \(sm86\), not for sm87.*--rebuild DIR --engine tensorrt"):
        built("tensorrt", "sm86", "sm87")


@pytest.mark.usefixtures("machine")
def test_more_workspace_than_there_is_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, ORIN)
    with pytest.raises(ConfigError, match="8000 MiB is more than the 7620 MiB of the Orin"):
        built("tensorrt", workspace_mib=8000)


@pytest.mark.usefixtures("machine")
def test_tensorrt_rtx_has_no_hardware_compatible_plans() -> None:
    with pytest.raises(ConfigError, match="Name each GPU with --target"):
        built("tensorrt-rtx", "sm86", hardware_compatible=True)


@pytest.mark.usefixtures("machine")
def test_the_manifest_is_told_of_the_device_and_of_every_version(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, ORIN)
    request = request_of("tensorrt", version_compatible=True)
    (build,) = plan_builds(request)
    built_for = build.built_for(request.settings)
    assert (built_for.target, built_for.gpu) == ("sm87", "Orin")
    assert built_for.versions == {"tensorrt": "10.3.0", "cuda": "12.6", "l4t": "36.4.3"}
    assert (built_for.version_compatible, built_for.hardware_compatible) == (True, False)


def test_options_ask_for_the_same_plans_again() -> None:
    assert plan_options(PlanRequest()) == []
    assert plan_options(request_of("tensorrt-rtx", "sm86", "sm89")) == [
        "--engine", "tensorrt-rtx", "--target", "sm86", "--target", "sm89",
    ]  # fmt: skip
    request = request_of("auto", batch=(1, 2, 8), workspace_mib=64, tf32=True, version_compatible=True)
    assert plan_options(request) == [
        "--engine", "auto", "--batch", "1..2..8", "--workspace-mib", "64", "--tf32", "--version-compatible",
    ]  # fmt: skip
