"""Which TensorRT builds a plan, and for which GPU; refused before anything long begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from moase_edge.artifact.manifest import BuiltFor, EngineRuntime
from moase_edge.config.names import PlanEngine
from moase_edge.config.plan import PlanSettings, options_of
from moase_edge.engines.tensorrt.device import Device, find_device
from moase_edge.engines.tensorrt.flavour import Flavour, available_flavours, find_flavour
from moase_edge.errors import ConfigError, EngineError, MoaseEdgeError

# Compute capabilities that TensorRT 10 or later serves; for which of them it can build, each flavour says.
TARGETS = ("sm75", "sm80", "sm86", "sm87", "sm89", "sm90", "sm100", "sm103", "sm110", "sm120", "sm121")
_ON_THE_DEVICE = (
    "Copy the artifact to such a device and run `moase-edge export --rebuild DIR --engine tensorrt` there."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Which plans are wanted.

    Attributes:
        engine: `ort` for none, `tensorrt`, `tensorrt-rtx`, or `auto` for the best that can build here.
        targets: compute capabilities as `sm86`; none for the GPU at hand.
        settings: how they are built.
    """

    engine: PlanEngine = "ort"
    targets: tuple[str, ...] = ()
    settings: PlanSettings = field(default_factory=PlanSettings)


@dataclass(frozen=True, slots=True)
class PlanBuild:
    """One plan to build from each graph.

    Attributes:
        flavour: which TensorRT builds it.
        target: compute capability that it is for.
        device: the GPU at hand, whose kernels are measured; None where none takes part.
    """

    flavour: Flavour
    target: str
    device: Device | None

    def built_for(self, settings: PlanSettings) -> BuiltFor:
        """What the manifest says of the plan."""
        least, usual, _most = settings.batch
        return BuiltFor(
            target=self.target,
            gpu=None if self.device is None else self.device.gpu,
            versions={
                self.flavour.name: self.flavour.version,
                **({} if self.device is None else self.device.versions),
            },
            hardware_compatible=settings.hardware_compatible,
            version_compatible=settings.version_compatible,
            tf32=settings.tf32,
            workspace_mib=settings.workspace_mib,
            usual_batch=None if usual == least else usual,
        )


def plan_builds(request: PlanRequest, *, required: bool = False, deferred: bool = False) -> tuple[PlanBuild, ...]:
    """What there is to build, one entry a target.

    Args:
        request: what is wanted.
        required: whether `auto` must find something, instead of warning that it did not.
        deferred: whether targets that nothing here builds for are left to their device, with a warning. Never
            those of TensorRT-RTX, which can build no more there.

    Raises:
        ConfigError: an unknown target, or settings that this flavour does not have.
        EngineError: the flavour is not installed, or cannot build for the target here.
    """
    unknown = [target for target in request.targets if target not in TARGETS]
    if unknown:
        raise ConfigError(f"unknown target {', '.join(unknown)}; known are {', '.join(TARGETS)}.")
    if request.engine == "ort":
        if request.targets and not deferred:
            raise ConfigError(
                "--target is of a plan, and no plan is asked for. Give --engine auto as well, or "
                "--precision auto, which leaves the choice to that device."
            )
        return ()
    device = find_device()
    _refuse_more_than_there_is(request.settings, device)
    try:
        if request.engine == "auto":
            return _best(request, device, required=required)
        return _builds(request.engine, request, device)
    except EngineError as exc:
        if not (deferred and request.targets) or request.engine == "tensorrt-rtx":
            raise
        logger.warning("plans for %s are left to the device: %s", ", ".join(request.targets), exc)
        return ()


def plan_options(request: PlanRequest) -> list[str]:
    """The options of `moase-edge export` that ask for the same plans."""
    options = [] if request.engine == "ort" else ["--engine", request.engine]
    for target in request.targets:
        options += ["--target", target]
    return options + options_of(request.settings)


def _refuse_more_than_there_is(settings: PlanSettings, device: Device | None) -> None:
    if device is not None and (settings.workspace_mib or 0) > device.memory_mib:
        raise ConfigError(
            f"a workspace of {settings.workspace_mib} MiB is more than the {device.memory_mib} MiB of the "
            f"{device.gpu}. Give less, or leave --workspace-mib out."
        )


def _best(request: PlanRequest, device: Device | None, *, required: bool) -> tuple[PlanBuild, ...]:
    """The first flavour that can build what is asked for."""
    reasons: list[str] = []
    wanted = f"for {', '.join(request.targets)}" if request.targets else "a plan"
    for name in available_flavours():
        try:
            return _builds(name, request, device)
        except MoaseEdgeError as exc:
            reasons.append(f"{name}: {exc}")
    told = " ".join(reasons) or "None is installed: `pip install 'moase-edge[tensorrt-rtx]'` brings one."
    told = f"no TensorRT here can build {wanted}. {told}"
    if required or request.targets:
        raise EngineError(told)
    logger.warning("%s", told)
    return ()


def _builds(name: EngineRuntime, request: PlanRequest, device: Device | None) -> tuple[PlanBuild, ...]:
    flavour = find_flavour(name)
    if name == "tensorrt-rtx":
        return _for_any(flavour, request, device)
    return (_for_this_device(flavour, request.targets, device),)


def _for_this_device(flavour: Flavour, targets: Sequence[str], device: Device | None) -> PlanBuild:
    """TensorRT proper measures kernels on the GPU it builds for."""
    if device is None:
        raise EngineError(f"{flavour.title} builds for the GPU at hand only, and there is none. {_ON_THE_DEVICE}")
    others = [target for target in targets if target != device.target]
    if others:
        raise EngineError(
            f"{flavour.title} builds for the GPU at hand only, the {device.gpu} ({device.target}), not for "
            f"{', '.join(others)}. {_ON_THE_DEVICE}"
        )
    return PlanBuild(flavour, device.target, device)


def _for_any(flavour: Flavour, request: PlanRequest, device: Device | None) -> tuple[PlanBuild, ...]:
    """TensorRT-RTX compiles at first run, and so builds without the GPU."""
    if request.settings.hardware_compatible:
        raise ConfigError(
            f"{flavour.title} has no hardware-compatible plans. Name each GPU with --target instead."
        )
    can = [name.lower() for name in flavour.module.ComputeCapability.__members__ if name.startswith("SM")]
    if not request.targets and device is None:
        raise ConfigError(f"there is no GPU here to build a plan for. Name one with --target: {', '.join(can)}.")
    targets = request.targets or (() if device is None else (device.target,))
    cannot = [target for target in targets if target not in can]
    if cannot:
        raise EngineError(
            f"{flavour.title} cannot build for {', '.join(cannot)}; it can for {', '.join(can)}. For "
            f"others there is TensorRT proper, which builds on the device itself. {_ON_THE_DEVICE} "
            "`--precision auto` without --engine makes an artifact for it."
        )
    return tuple(PlanBuild(flavour, target, None) for target in dict.fromkeys(targets))
