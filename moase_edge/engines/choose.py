"""Which engines of an artifact this device can run, in which order they are tried, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from moase_edge.artifact.manifest import EngineEntry, EngineRuntime
from moase_edge.config.names import EngineName
from moase_edge.engines.onnx_runtime import Provider
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.fit import differences
from moase_edge.errors import EngineError

Runner = Literal["tensorrt", "tensorrt-rtx", "ort-cuda", "ort-tensorrt", "ort"]

# What runs a graph by which provider of ONNX Runtime. The rest run plans, and are named as the manifest does.
GRAPH_RUNNERS: dict[Runner, Provider] = {"ort-cuda": "cuda", "ort-tensorrt": "tensorrt", "ort": "cpu"}
# What `auto` tries, the fastest first. Not ort-tensorrt: it builds a plan when it is opened, which takes minutes;
# `moase-edge export --rebuild` builds one once and for all.
AUTO_ORDER: tuple[Runner, ...] = ("tensorrt", "tensorrt-rtx", "ort-cuda", "ort")

# What tells ONNX Runtime's providers apart in the names of its engines: one graph is run by several.
_PROVIDER_SAID: dict[Runner, str] = {"ort": "(CPU", "ort-cuda": "(CUDA", "ort-tensorrt": "(TENSORRT"}
# Of two latencies that are nearer than this share, chance decides.
_TIE = 0.03


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run an engine with.

    Attributes:
        processor: its name.
        device: the GPU; None for none.
        providers: of the ONNX Runtime that is installed; none where it is missing.
        flavours: versions of TensorRT by name.
    """

    processor: str
    device: Device | None = None
    providers: frozenset[Provider] = frozenset()
    flavours: Mapping[EngineRuntime, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine to try.

    Attributes:
        runner: what shall run it.
        entry: which file of the artifact.
        reason: why, as a clause.
    """

    runner: Runner
    entry: EngineEntry
    reason: str


def choices(entries: Sequence[EngineEntry], machine: Machine, name: EngineName = "auto") -> list[Choice]:
    """What to try, the best first. A name that is no `auto` gives one, which may fail to open and says why then.

    Within one runner: the fastest of those measured on this device, before what was not measured; then the order
    of the manifest. What failed its parity gate is never taken. A reason says what holds once those before it have
    failed to open.

    Args:
        entries: of the manifest, at least one.

    Raises:
        EngineError: the artifact holds nothing that could be meant.
    """
    if name != "auto":
        return [_named(entries, machine, name)]
    found: list[Choice] = []
    for runner in AUTO_ORDER:
        found += _runnable(entries, machine, runner, [choice.runner for choice in found])
    return found or [_named(entries, machine, "ort")]


def _runnable(
    entries: Sequence[EngineEntry], machine: Machine, runner: Runner, before: Sequence[Runner]
) -> Iterator[Choice]:
    """What this runner can take here, the best first; none where it or the device is missing.

    Args:
        before: runners of what is tried before.
    """
    if runner in GRAPH_RUNNERS:
        # Without ONNX Runtime the CPU stays a choice: opening it says what to install.
        there = runner == "ort" or GRAPH_RUNNERS[runner] in machine.providers
        fitting = [entry for entry in _graphs(entries) if there and _has_kernels(entry, runner)]
    else:
        fitting = [entry for entry in _plans(entries, runner) if not misfits(entry, machine)]
    ranked = _ranked(fitting, runner, machine)
    for place, entry in enumerate(ranked):
        which = _which(entries, runner, ranked, machine) if place == 0 else f"; {entry.precision} is the next best"
        yield Choice(runner, entry, _why(runner, before) + which)


def _passed_over(entries: Sequence[EngineEntry], ranked: Sequence[EngineEntry], runner: Runner) -> str:
    """That the artifact's first precision cannot be had with this runner, and what to do; or nothing."""
    first = next(entry.precision for entry in entries if entry.parity is None or entry.parity.passed)
    if any(entry.precision == first for entry in ranked):
        return ""
    if runner in GRAPH_RUNNERS:
        return f"ONNX Runtime on the CPU has no {first}, the artifact's first"
    return f"of {first}, the artifact's first, there is no plan: `moase-edge export --rebuild DIR` builds one"


def _named(entries: Sequence[EngineEntry], machine: Machine, name: Runner) -> Choice:
    of_kind = _graphs(entries) if name in GRAPH_RUNNERS else _plans(entries, name)
    # Those that fit first; the others tell on opening what differs.
    fitting = [entry for entry in of_kind if fits(entry, name, machine)]
    ranked = _ranked(fitting or of_kind, name, machine)
    if not ranked:
        raise EngineError(_nothing(name, failed=bool(of_kind)))
    return Choice(name, ranked[0], "it was asked for")


def fits(entry: EngineEntry, runner: Runner, machine: Machine) -> bool:
    """Whether a runner can take an engine here, as far as can be told without opening it."""
    return _has_kernels(entry, runner) if runner in GRAPH_RUNNERS else not misfits(entry, machine)


def _has_kernels(entry: EngineEntry, runner: Runner) -> bool:
    """ONNX Runtime's CPU provider has none in bfloat16."""
    return runner != "ort" or entry.precision != "bf16"


def _nothing(name: Runner, *, failed: bool) -> str:
    """Why an artifact holds nothing for a runner."""
    if failed:
        return f"no engine for {name} has passed its parity gate. Export again, with another precision."
    if name in GRAPH_RUNNERS:
        return (
            "the artifact holds no engine of this kind and precision. Make one: `moase-edge export --rebuild DIR "
            "--precision fp16`, or another."
        )
    return f"the artifact holds no plan of {name}. `moase-edge export --rebuild DIR` builds one; or --engine auto."


def _graphs(entries: Sequence[EngineEntry]) -> list[EngineEntry]:
    return [entry for entry in entries if entry.runtime == "onnx"]


def _plans(entries: Sequence[EngineEntry], runner: Runner) -> list[EngineEntry]:
    return [entry for entry in entries if entry.runtime == runner]


def misfits(entry: EngineEntry, machine: Machine) -> bool:
    """Whether a plan cannot run here."""
    version = machine.flavours.get(entry.runtime)
    return (
        machine.device is None
        or version is None
        or bool(differences(entry, entry.runtime, version, machine.device))
    )


def _ranked(entries: Sequence[EngineEntry], runner: Runner, machine: Machine) -> list[EngineEntry]:
    """Those that did not fail their gate: by latency measured with this runner here, then as they stand.

    The first that was measured stays first unless another is faster by more than a tie.
    """
    sound = [entry for entry in entries if entry.parity is None or entry.parity.passed]
    latency_ms = {entry.file: _latency_ms(entry, runner, machine) for entry in sound}
    measured = next((entry for entry in sound if latency_ms[entry.file] < math.inf), None)
    tied_ms = 0.0 if measured is None else (1 - _TIE) * latency_ms[measured.file]
    return sorted(sound, key=lambda entry: tied_ms if entry is measured else latency_ms[entry.file])


def _latency_ms(entry: EngineEntry, runner: Runner, machine: Machine) -> float:
    """As it was measured with this runner at this place; infinite where it was not."""
    runs, on, place = (entry.measured_on or "").rpartition(" on ")
    there = on and place == _place(runner, machine) and _PROVIDER_SAID.get(runner, "") in runs
    return entry.latency_ms if there and entry.latency_ms is not None else math.inf


def _place(runner: Runner, machine: Machine) -> str:
    """The name that a measurement on this device carries."""
    on_gpu = runner != "ort" and machine.device is not None
    return cast(Device, machine.device).gpu if on_gpu else machine.processor


def _why(runner: Runner, before: Sequence[Runner]) -> str:
    """Why this runner, where no other one of those that are tried before opens."""
    if runner not in GRAPH_RUNNERS:
        return "a plan fits this GPU"
    here = {"ort-cuda": "ONNX Runtime has CUDA", "ort": "ONNX Runtime has no CUDA"}[runner]
    if "ort-cuda" in before:
        here = "the CPU is left"
    return here if set(before) - set(GRAPH_RUNNERS) else f"no plan fits, and {here}"


def _which(entries: Sequence[EngineEntry], runner: Runner, ranked: Sequence[EngineEntry], machine: Machine) -> str:
    """Why the first of what a runner could take, as a further clause; nothing where there was no choice."""
    best = ranked[0]
    latency = _latency_ms(best, runner, machine)
    if latency < math.inf and len(ranked) > 1:
        return f"; {best.precision} is the fastest measured here ({latency:.2f} ms)"
    if latency == math.inf and (passed_over := _passed_over(entries, ranked, runner)):
        return f"; {passed_over}"
    return "" if len(ranked) == 1 else f"; {best.precision} is the artifact's first, none was measured here"
