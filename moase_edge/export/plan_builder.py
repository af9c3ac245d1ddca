"""One builder for every flavour of TensorRT: an ONNX graph in, a strongly typed plan out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.flavour import Flavour, MessageLog, one_line, translated
from moase_edge.errors import ExportError
from moase_edge.export.graph_nodes import GraphNode, graph_nodes
from moase_edge.export.signals import signals_deferred

# Of what is built from the same graph and settings; a change that makes other plans raises it, so that no plan of
# an older moase-edge is taken from the cache.
RECIPE = 2
_ADVICE = {
    r"workspace|no tactics": "Give it more memory: a larger --workspace-mib, or none for all that the device has.",
    r"out ?of ?memory|OutOfMemory|allocat": "Free memory on the device (close other programs), or lower --batch.",
    r"lean|libnvinfer_lean": "This installation builds no plans that fit other versions: leave that setting out.",
    r"FP32 GEMM is not supported": "For this GPU there are products in half alone here: give --precision fp16.",
    r"Plugin not found|UNSUPPORTED": "This TensorRT has no such operator. Update it, or run "
    "the graph with `moase-edge run --engine ort`.",
}
_OTHERWISE = "Run the graph with `moase-edge run --engine ort`, and report this with the output of --debug."


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """What a build gives.

    Attributes:
        plan: pure bytes of a serialised engine.
        timings: measured kernels, to build faster the next time; None where the flavour keeps none.
    """

    plan: bytes
    timings: bytes | None


def build_plan(
    graph: bytes,
    flavour: Flavour,
    settings: PlanSettings,
    *,
    target: str | None,
    timings: bytes | None = None,
) -> BuiltPlan:
    """Build a plan from an ONNX file.

    Args:
        graph: the file's bytes. The first size of every input is the batch; all others are fixed.
        flavour: which TensorRT builds.
        settings: batch range, workspace and the rest.
        target: compute capability to build for, as `sm86`, without that GPU being there; None for the GPU at hand.
        timings: what an earlier build on this device gave.

    Raises:
        ExportError: the graph cannot be read or built; names the node, its operator and its PyTorch module.
    """
    trt, log = flavour.module, MessageLog(flavour)
    with signals_deferred() as ended, translated(f"{flavour.title} cannot build a plan", ExportError):
        builder = trt.Builder(log.logger)
        network = builder.create_network(_strongly_typed(trt))
        _parse(graph, network, flavour, log)
        config = _configure(builder, network, trt, settings, target)
        if flavour.name == "tensorrt-rtx":  # else memory taken while it runs may bar it from a CUDA graph
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        config.progress_monitor = _monitor(trt, ended)
        cache = _timing_cache(config, flavour, timings)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise _build_error(graph, flavour, log.reason())
        return BuiltPlan(bytes(plan), None if cache is None else bytes(cache.serialize()))


def _strongly_typed(trt: Any) -> int:
    """TensorRT 10 must be asked for it; later ones know nothing else, and may have dropped the flag."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(graph: bytes, network: Any, flavour: Flavour, log: MessageLog) -> None:
    parser = flavour.module.OnnxParser(network, log.logger)
    if not parser.parse(graph):
        faults = [parser.get_error(index) for index in range(parser.num_errors)]
        raise _parse_error(graph, flavour, faults, log)
    if not network.num_outputs:
        raise ExportError(
            f"{flavour.title} found no output in the ONNX file: it is empty or cut short. Export again."
        )


def _configure(builder: Any, network: Any, trt: Any, settings: PlanSettings, target: str | None) -> Any:
    config = builder.create_builder_config()
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib << 20)
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if target is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    _set_batch(builder, network, config, settings.batch)
    return config


def _monitor(trt: Any, ended: Callable[[], bool]) -> Any:
    """Ends a build, which takes minutes on a small device, at its next step when a signal waits."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, _phase: str, _parent: str, _steps: int) -> None:
            """Nothing to do."""

        def step_complete(self, _phase: str, _step: int) -> bool:
            return not ended()

        def phase_finish(self, _phase: str) -> None:
            """Nothing to do."""

    return Monitor()


def _set_batch(builder: Any, network: Any, config: Any, batch: tuple[int, int, int]) -> None:
    """Fix the batch of every input, or give the builder its range.

    The parser may take an operator for one of a single frame, and then the plan would answer for the first only.
    """
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    single = [f"{output.name} {tuple(output.shape)}" for output in outputs if output.shape[0] != -1]
    if single and batch[2] > 1:
        raise ExportError(
            f"TensorRT finds no batch in the output {', '.join(single)}: it can build this graph for one frame at "
            "a time only. Leave --batch out, or export again with this version of moase-edge."
        )
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if batch[0] == batch[2]:
        for entry in inputs:
            entry.shape = (batch[0], *tuple(entry.shape)[1:])
        return
    profile = builder.create_optimization_profile()
    for entry in inputs:
        profile.set_shape(entry.name, *((size, *tuple(entry.shape)[1:]) for size in batch))
    config.add_optimization_profile(profile)


def _timing_cache(config: Any, flavour: Flavour, timings: bytes | None) -> Any:
    """A cache of measured kernels, in the build's service; None for TensorRT-RTX, which measures none."""
    if flavour.name == "tensorrt-rtx":
        return None
    cache = config.create_timing_cache(timings or b"")
    # Where another device measured them, TensorRT refuses them, and the build starts from nothing.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _parse_error(graph: bytes, flavour: Flavour, faults: list[Any], log: MessageLog) -> ExportError:
    if not faults or faults[0].code() == flavour.module.ErrorCode.MODEL_DESERIALIZE_FAILED:
        return ExportError(f"{flavour.title} cannot read the ONNX file: it is cut short or is none. Export again.")
    fault = faults[0]
    name, operator = str(fault.node_name()), str(fault.node_operator())
    node = graph_nodes(graph).get(name, GraphNode(name, operator, None))
    reason = _first_reason(str(fault.desc())) or log.reason()
    return ExportError(
        f"{flavour.title} cannot take {_where(node)}: {_sentence(reason)} {_advice(f'{reason} {fault.code()}')}"
    )


def _first_reason(description: str) -> str:
    """The parser's own words on a node: the first line that is more than "Invalid Node - its name"."""
    lines = [line for line in description.splitlines() if line.strip() and not line.startswith("Invalid Node")]
    text = one_line(lines[0]) if lines else one_line(description)
    quoted = re.search(r'"([^"]+)"', text)
    return quoted.group(1).rstrip(".") if quoted and "&&" in text else text


def _build_error(graph: bytes, flavour: Flavour, reason: str) -> ExportError:
    named = [
        node for name, node in graph_nodes(graph).items() if name and re.search(rf"\b{re.escape(name)}\b", reason)
    ]
    where = f" at {_where(named[0])}" if named else ""
    return ExportError(f"{flavour.title} could not build the plan{where}: {_sentence(reason)} {_advice(reason)}")


def _sentence(reason: str) -> str:
    return reason if reason.endswith(("?", "!")) else f"{reason}."


def _where(node: GraphNode) -> str:
    module = "" if node.module is None else f", in the PyTorch module {node.module}"
    return f"the node {node.name} (operator {node.operator}{module})"


def _advice(reason: str) -> str:
    found = (advice for pattern, advice in _ADVICE.items() if re.search(pattern, reason, re.IGNORECASE))
    return next(found, _OTHERWISE)
