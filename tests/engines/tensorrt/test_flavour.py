"""Finding a flavour of TensorRT, and saying why there is none."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import get_args

import pytest

from moase_edge.artifact.manifest import EngineRuntime
from moase_edge.engines.tensorrt import flavour as owner
from moase_edge.engines.tensorrt.flavour import MessageLog, available_flavours, find_flavour, one_line, translated
from moase_edge.errors import EngineError, ExportError


class Logger:
    """The base class of TensorRT's loggers, as far as it matters here."""


def install(monkeypatch: pytest.MonkeyPatch, module: str, version: str) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(__version__=version, ILogger=Logger))


def test_every_runtime_but_onnx_is_a_flavour() -> None:
    assert set(owner._PACKAGES) == set(get_args(EngineRuntime)) - {"onnx"}


@pytest.mark.parametrize(
    ("name", "module", "version", "tag"),
    [
        ("tensorrt", "tensorrt", "10.3.0", "trt10.3"),
        ("tensorrt", "tensorrt", "11.1.0.106", "trt11.1"),
        ("tensorrt-rtx", "tensorrt_rtx", "1.7.1.116", "rtx1.7"),
    ],
)
def test_a_flavour_is_found_by_name(
    monkeypatch: pytest.MonkeyPatch, name: EngineRuntime, module: str, version: str, tag: str
) -> None:
    install(monkeypatch, module, version)
    found = find_flavour(name)
    assert (found.name, found.version, found.tag) == (name, version, tag)


def test_one_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"not installed.*moase-edge\[tensorrt-rtx\]"):
        find_flavour("tensorrt-rtx")


@pytest.mark.parametrize("version", ["8.6.2", "10.0.1", "unknown"])
def test_a_version_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, "tensorrt", version)
    with pytest.raises(EngineError, match=rf"TensorRT {version} is too old; 10\.3 or newer is needed") as refused:
        find_flavour("tensorrt")
    assert refused.value.exit_code == 4


def test_only_what_imports_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    install(monkeypatch, "tensorrt", "10.3.0")
    assert available_flavours() == ["tensorrt"]


def test_messages_are_collected_by_severity_and_the_first_error_is_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "tensorrt", "10.3.0")
    log = MessageLog(find_flavour("tensorrt"))
    assert log.reason() == "it gave no reason"
    for severity, message in [
        ("WARNING", "slow"),
        ("ERROR", "first."),
        ("INTERNAL_ERROR", "second"),
        ("INFO", "x"),
    ]:
        log.logger.log(SimpleNamespace(name=severity), message)
    assert (log.warnings, log.errors, log.reason()) == (["slow"], ["first.", "second"], "first")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("IBuilder::build: Error Code 4: API Usage Error (no profile\n  given. In f at /_src/a.cpp:12)",
         "API Usage Error (no profile given)"),
        ("[checkMacros.cpp::catch::250] Error Code 1: Cuda Runtime (In catch at /a.cpp:250 (cudaError 35: old))",
         "Cuda Runtime (cudaError 35: old)"),
        ("plain words", "plain words"),
    ],
)  # fmt: skip
def test_a_message_is_told_in_one_line(message: str, told: str) -> None:
    assert one_line(message) == told


def test_what_the_bindings_raise_is_translated() -> None:
    with (
        pytest.raises(ExportError, match=r"^building it: out of memory\.$"),
        translated("building it", ExportError),
    ):
        raise RuntimeError("out of memory")
    with pytest.raises(EngineError, match="as it was"), translated("building it", ExportError):
        raise EngineError("as it was")
