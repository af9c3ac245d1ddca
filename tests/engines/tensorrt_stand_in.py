"""TensorRT 10 and 11 as far as moase-edge calls them: they come from NVIDIA alone, and want a GPU.

A plan of the stand-in is JSON that says how it was built, so that a test can read what a real builder was told.
Faults are reported as TensorRT does: through the logger, the parser's errors, and None in place of a result.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

UNKNOWN_OPERATOR = "Frobnicate"


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    """To be subclassed, with `log`."""

    Severity = Severity

    def __init__(self) -> None:
        self.initialised = True

    def log(self, severity: Severity, message: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    """To be subclassed; `step_complete` says whether to go on."""

    def step_complete(self, phase: str, step: int) -> bool:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH, STRONGLY_TYPED = range(2)


class BuilderFlag(enum.IntEnum):
    TF32, VERSION_COMPATIBLE, REQUIRE_USER_ALLOCATION = range(3)


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE, AMPERE_PLUS = range(2)


class ErrorCode(enum.IntEnum):
    SUCCESS, MODEL_DESERIALIZE_FAILED, UNSUPPORTED_NODE = range(3)


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def get_output(self, index: int) -> Any:
        return self.outputs[index]


class ParserError:
    def __init__(self, code: ErrorCode, text: str, node: Any = None) -> None:
        self._code, self._text, self._node = code, text, node

    def code(self) -> ErrorCode:
        return self._code

    def desc(self) -> str:
        return self._text

    def node_name(self) -> str:
        return "" if self._node is None else str(self._node.name)

    def node_operator(self) -> str:
        return "" if self._node is None else str(self._node.op_type)


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        assert logger.initialised, "TensorRT refuses a logger whose own initialiser did not run"
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        try:
            graph = onnx.load_from_string(model).graph
        except Exception:  # protobuf's own
            self._errors.append(ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model."))
            return False
        for node in graph.node:
            if node.op_type == UNKNOWN_OPERATOR:
                text = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
                self._errors.append(ParserError(ErrorCode.UNSUPPORTED_NODE, text, node))
        self._network.inputs = [_tensor(entry) for entry in graph.input]
        self._network.outputs = [_tensor(entry) for entry in graph.output]
        return not self._errors


def _tensor(entry: Any) -> Any:
    shape = tuple(size.dim_value or -1 for size in entry.type.tensor_type.shape.dim)
    return SimpleNamespace(name=entry.name, shape=shape)


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, least: Sequence[int], usual: Sequence[int], most: Sequence[int]) -> None:
        self.shapes[name] = [list(least), list(usual), list(most)]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class Config:
    def __init__(self) -> None:
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.flags = {BuilderFlag.TF32}
        self.workspace: int | None = None
        self.profiles: list[Profile] = []
        self.timing_cache: TimingCache | None = None
        self.progress_monitor: IProgressMonitor | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.workspace = size

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Timings of another device are refused."""
        if cache.content and not cache.content.startswith(b"timings") and not ignore_mismatch:
            return False
        self.timing_cache = cache
        return True


class Builder:
    """Builds unless `Builder.fails` says what goes wrong."""

    fails: str | None = None

    def __init__(self, logger: ILogger) -> None:
        assert logger.initialised, "TensorRT refuses a logger whose own initialiser did not run"
        self._logger = logger

    def create_network(self, flags: int = 0) -> Network:
        return Network(flags)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        dynamic = any(-1 in entry.shape for entry in network.inputs)
        fault = self.fails
        if config.progress_monitor is not None and not config.progress_monitor.step_complete("Building", 0):
            return None
        if dynamic and not config.profiles:
            fault = "Error Code 4: API Usage Error (Network has dynamic inputs, but no optimization profile)"
        if fault is not None:
            self._logger.log(Severity.ERROR, f"IBuilder::buildSerializedNetwork: {fault}")
            return None
        timings = None if config.timing_cache is None else config.timing_cache.content.decode()
        if config.timing_cache is not None:
            config.timing_cache.content = b"timings" + config.timing_cache.content
        return json.dumps(
            {
                "strongly_typed": bool(network.flags >> NetworkDefinitionCreationFlag.STRONGLY_TYPED & 1),
                "shapes": {entry.name: list(entry.shape) for entry in network.inputs},
                "profiles": [profile.shapes for profile in config.profiles],
                "flags": sorted(flag.name for flag in config.flags),
                "hardware": config.hardware_compatibility_level.name,
                "workspace": config.workspace,
                "timings": timings,
            }
        ).encode()


def stand_in(version: str) -> Any:
    """A module like `tensorrt` of that version."""
    builder = type("Builder", (Builder,), {})
    return SimpleNamespace(
        __version__=version,
        ILogger=ILogger,
        IProgressMonitor=IProgressMonitor,
        Builder=builder,
        OnnxParser=OnnxParser,
        NetworkDefinitionCreationFlag=NetworkDefinitionCreationFlag,
        BuilderFlag=BuilderFlag,
        MemoryPoolType=MemoryPoolType,
        HardwareCompatibilityLevel=HardwareCompatibilityLevel,
        ErrorCode=ErrorCode,
    )


def install(monkeypatch: pytest.MonkeyPatch, version: str = "10.3.0", module: str = "tensorrt") -> Any:
    """Have `import tensorrt` give a stand-in of that version; returns it."""
    trt = stand_in(version)
    monkeypatch.setitem(sys.modules, module, trt)
    return trt
