"""The flavours of TensorRT behind one name: `tensorrt` 10 and 11, and TensorRT-RTX."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from moase_edge.artifact.manifest import EngineRuntime
from moase_edge.errors import EngineError, MoaseEdgeError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Package:
    """How a flavour is imported, called, tagged in file names and installed, and the oldest one that serves."""

    module: str
    title: str
    tag: str
    oldest: tuple[int, int]
    install: str


_PACKAGES: dict[EngineRuntime, _Package] = {
    "tensorrt": _Package(
        module="tensorrt",
        title="TensorRT",
        tag="trt",
        oldest=(10, 3),
        install="A Jetson has it from JetPack 6.1 on: make the virtual environment with --system-site-packages. "
        "Elsewhere `pip install 'moase-edge[tensorrt]'` fetches it from NVIDIA.",
    ),
    "tensorrt-rtx": _Package(
        module="tensorrt_rtx",
        title="TensorRT-RTX",
        tag="rtx",
        oldest=(1, 3),
        install="`pip install 'moase-edge[tensorrt-rtx]'` installs it.",
    ),
}


@dataclass(frozen=True, slots=True)
class Flavour:
    """One installed flavour.

    Attributes:
        name: `tensorrt` or `tensorrt-rtx`.
        module: the imported Python module.
        version: its own, as "10.3.0" or "1.7.1.116"; a plan is bound to it.
    """

    name: EngineRuntime
    module: Any
    version: str

    @property
    def title(self) -> str:
        """For people: "TensorRT-RTX 1.7.1.116"."""
        return f"{_PACKAGES[self.name].title} {self.version}"

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = _release(self.version)
        return major, minor

    @property
    def tag(self) -> str:
        """In names of plan files: "trt10.3", "rtx1.7"."""
        return f"{_PACKAGES[self.name].tag}{'.'.join(map(str, self.release))}"


def find_flavour(name: EngineRuntime) -> Flavour:
    """Import a flavour of TensorRT.

    Raises:
        EngineError: it is not installed, its libraries do not load, or it is older than what serves; and how to
            install one that does.
    """
    package = _PACKAGES[name]
    try:
        module = importlib.import_module(package.module)
        version = str(module.__version__)
    except ModuleNotFoundError as exc:
        raise EngineError(f"{package.title} is not installed. {package.install}") from exc
    except Exception as exc:  # the stub on the registry and libraries that do not load raise whatever they like
        raise EngineError(f"{package.title} is installed but does not load: {exc}. {package.install}") from exc
    if _release(version) < package.oldest:
        oldest = ".".join(map(str, package.oldest))
        raise EngineError(f"{package.title} {version} is too old; {oldest} or newer is needed. {package.install}")
    return Flavour(name, module, version)


def available_flavours() -> list[EngineRuntime]:
    """The flavours that can be imported here, TensorRT proper first; one that does not load is only logged."""
    found: list[EngineRuntime] = []
    for name in _PACKAGES:
        try:
            found.append(find_flavour(name).name)
        except EngineError as exc:
            _log.debug("%s", exc)
    return found


class MessageLog:
    """Collects what TensorRT says, so that a failure can be told in its own words.

    TensorRT keeps the first logger of a process for some messages, so one that outlives its object is kept by it.

    Args:
        flavour: whose logger this becomes.

    Attributes:
        logger: a `trt.ILogger` of the flavour, to give to a builder, a parser or a runtime.
        errors: messages of the severities error and internal error, in order.
        warnings: messages of the severity warning.
    """

    def __init__(self, flavour: Flavour) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.logger: Any = _collecting_logger(flavour.module, self._take)

    def _take(self, severity: str, message: str) -> None:
        _log.debug("TensorRT %s: %s", severity.lower(), message)
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(message)
        elif severity == "WARNING":
            self.warnings.append(message)

    def reason(self, otherwise: str = "it gave no reason") -> str:
        """The error that led to the others, as one line.

        That is the first one with an error code. What the CUDA runtime says comes last: without a driver it
        complains beside every other fault.
        """
        coded = [message for message in self.errors if "Error Code" in message]
        told = [message for message in coded if "cudaError" not in message] or coded or self.errors
        return one_line(told[0]) if told else otherwise


def _collecting_logger(trt: Any, take: Callable[[str, str], None]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind's classes want their own initialiser, not super()'s

        def log(self, severity: Any, message: str) -> None:
            take(str(severity.name), message)

    return Logger()


def one_line(message: str) -> str:
    """A message of TensorRT without line breaks, its function, its error code and its source position."""
    text = re.sub(r"\bIn \S+ at \S+:\d+\b ?", "", " ".join(message.split()))
    for left, mended in ((" ()", ""), (". )", ")"), ("((", "("), ("))", ")")):
        text = text.replace(left, mended)
    return re.sub(r"^(\[[^]]*\] |I[A-Z]\w+::\w+: )*(Error Code:? \d+: )?", "", text).rstrip(". ")


@contextmanager
def translated(action: str, error: type[MoaseEdgeError] = EngineError) -> Iterator[None]:
    """Translate what TensorRT's bindings raise in the block.

    Args:
        action: what was tried: "TensorRT-RTX 1.7 cannot load backbone.fp32.sm86.rtx1.7.engine".
        error: the class to raise.
    """
    try:
        yield
    except MoaseEdgeError:
        raise
    except Exception as exc:  # pybind raises RuntimeError, TypeError, ValueError and MemoryError
        raise error(f"{action}: {one_line(str(exc)) or type(exc).__name__}.") from exc


def _release(version: str) -> tuple[int, int]:
    """Major and minor version; what has neither counts as the oldest there can be."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
