"""A plan that was checked and loaded: what goes in, what comes out, and contexts to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from moase_edge.artifact.manifest import EngineEntry
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.fit import differences
from moase_edge.engines.tensorrt.flavour import Flavour, MessageLog, translated
from moase_edge.engines.tensorrt.memory import ElementType
from moase_edge.engines.tensorrt.runtime_cache import RuntimeCache
from moase_edge.errors import EngineError

# TensorRT's names of what a plan may take and return.
_TYPES: dict[str, ElementType] = {"FLOAT": "float32", "HALF": "float16"}


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor that a plan takes or returns.

    Attributes:
        shape: without the batch.
    """

    name: str
    shape: tuple[int, ...]
    dtype: ElementType
    takes: bool


class Plan:
    """A deserialised plan.

    Attributes:
        flavour: what runs it.
        ports: its inputs and outputs, in the plan's order.
        batch: smallest and largest batch.
    """

    def __init__(
        self, flavour: Flavour, engine: Any, log: MessageLog, cache: RuntimeCache | None, title: str
    ) -> None:
        self.flavour = flavour
        self._engine, self._log, self._cache, self._title = engine, log, cache, title
        with translated(f"{flavour.title} cannot describe {title}"):
            self.ports = tuple(self._port(index) for index in range(engine.num_io_tensors))
            self.batch = self._batches()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes."""
        return tuple(port for port in self.ports if port.takes)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it returns."""
        return tuple(port for port in self.ports if not port.takes)

    def context(self, batch: int) -> Any:
        """An execution context for a batch; its addresses are the caller's to set.

        Raises:
            EngineError: TensorRT made none, mostly for want of device memory.
        """
        with translated(f"{self.flavour.title} cannot prepare {self._title}"):
            context = (
                self._engine.create_execution_context()
                if self._cache is None
                else self._cache.context_of(self._engine)
            )
            if context is None:
                raise EngineError(
                    f"{self.flavour.title} cannot prepare {self._title} for running: {self._log.reason()}. "
                    "Mostly device memory does not suffice: close what else uses the GPU."
                )
            for port in self.inputs:
                self.check(context.set_input_shape(port.name, (batch, *port.shape)), f"a batch of {batch}")
        return context

    def check(self, done: object, what: str) -> None:
        """Raise what TensorRT said where a call returned false.

        Raises:
            EngineError: with its first message.
        """
        if not done:
            raise EngineError(f"{self.flavour.title} refused {what} of {self._title}: {self._log.reason()}.")

    def keep_cache(self) -> None:
        """Write what was compiled for this GPU, for the next start."""
        if self._cache is not None:
            self._cache.write()

    def _port(self, index: int) -> Port:
        name = self._engine.get_tensor_name(index)
        kind = str(self._engine.get_tensor_dtype(name).name)
        if kind not in _TYPES:
            raise EngineError(
                f"{name} of {self._title} has type {kind}; expected one of {', '.join(get_args(ElementType))}. "
                "Export again with --force."
            )
        takes = self._engine.get_tensor_mode(name) == self.flavour.module.TensorIOMode.INPUT
        return Port(str(name), tuple(self._engine.get_tensor_shape(name))[1:], _TYPES[kind], takes)

    def _batches(self) -> tuple[int, int]:
        name = self.inputs[0].name
        fixed = int(self._engine.get_tensor_shape(name)[0])
        if fixed >= 0:
            return fixed, fixed
        smallest, _, largest = self._engine.get_tensor_profile_shape(name, 0)
        return int(smallest[0]), int(largest[0])


def refuse_misfit(entry: EngineEntry, flavour: Flavour, device: Device, folder: Path) -> None:
    """Compare a plan's manifest entry with this device, before a byte of the plan is read.

    Raises:
        EngineError: what differs, and the command that builds the plan for this device.
    """
    found = differences(entry, flavour.name, flavour.version, device)
    if found:
        raise EngineError(
            f"{entry.file} does not fit this device: {'; '.join(found)}. {rebuild(folder)} Or use --engine ort."
        )


def rebuild(folder: Path) -> str:
    """The sentence with the command that builds an artifact's plans for this device."""
    return f"Build it here: `moase-edge export --rebuild {folder}`."


def load_plan(
    path: Path,
    flavour: Flavour,
    *,
    folder: Path,
    free_bytes: Callable[[], int | None] = lambda: None,
    cache: RuntimeCache | None = None,
    host_code: bool = False,
) -> Plan:
    """Deserialise a plan whose manifest entry fits this device (see `refuse_misfit`).

    Args:
        folder: of the artifact, for the command that builds the plan again.
        free_bytes: device memory that can be taken.
        cache: for what TensorRT-RTX compiles at the first run; None keeps nothing.
        host_code: the plan is version compatible: it brings the code of the version that built it, which TensorRT
            runs only where it is told to; the artifact's hashes vouch for it.

    Raises:
        EngineError: the file cannot be read or is no plan of this version, or device memory does not suffice.
    """
    content = _content(path)
    free = free_bytes()
    if free is not None and free < len(content):
        raise EngineError(
            f"{path} needs {len(content) / 2**20:.0f} MiB of device memory at least, and {free / 2**20:.0f} MiB "
            "are free. Close what else uses the GPU, or take a smaller model or precision."
        )
    log = MessageLog(flavour)
    with translated(f"{flavour.title} cannot load {path}"):
        runtime = flavour.module.Runtime(log.logger)
        if runtime is not None and host_code:
            runtime.engine_host_code_allowed = True
        engine = None if runtime is None else runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise EngineError(
            f"{flavour.title} cannot load {path} ({len(content)} bytes): {log.reason()}. It is truncated, no plan "
            f"at all, or of another version or machine. {rebuild(folder)}"
        )
    return Plan(flavour, engine, log, cache, str(path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise EngineError(f"{path} cannot be read: {exc.strerror}. Copy the artifact again.") from exc
