"""Whether a plan fits this device, by its manifest entry: deserialising a wrong one may end the process."""

from __future__ import annotations

import re

from moase_edge.artifact.manifest import BuiltFor, EngineEntry, EngineRuntime
from moase_edge.engines.tensorrt.device import Device

# Plans that are hardware compatible run from Ampere on.
_AMPERE = 80


def differences(entry: EngineEntry, runtime: EngineRuntime, version: str, device: Device) -> list[str]:
    """What stands between a plan and this device, a clause each; empty where it fits.

    Args:
        entry: of the plan.
        runtime, version: of the flavour that is installed.
        device: the GPU that is there.
    """
    built = entry.built_for
    if built is None:
        return [f"{entry.file} is an ONNX graph and no plan"]
    found = [
        None if entry.runtime == runtime else f"it is a plan of {entry.runtime}, this is {runtime}",
        _version(built, entry.runtime, version),
        _target(built, device),
        _gpu(built, device),
        _driver(built, device),
        _system(built, device),
    ]
    return [clause for clause in found if clause]


def _version(built: BuiltFor, runtime: EngineRuntime, here: str) -> str | None:
    made = built.versions.get(runtime)
    if made is None or made == here or (built.version_compatible and _numbers(here) >= _numbers(made)):
        return None
    return f"it was built with {runtime} {made}, here is {here}"


def _target(built: BuiltFor, device: Device) -> str | None:
    (here,) = _numbers(device.target)
    if built.target == device.target or (built.hardware_compatible and here >= _AMPERE):
        return None
    return f"it was built for compute capability {built.target}, this GPU has {device.target}"


def _gpu(built: BuiltFor, device: Device) -> str | None:
    """TensorRT times its kernels on the GPU at hand: on another model a plan is slow, or fails."""
    if built.gpu is None or built.gpu == device.gpu or built.hardware_compatible:
        return None
    return f"it was built on {built.gpu}, this is {device.gpu}"


def _driver(built: BuiltFor, device: Device) -> str | None:
    """A newer driver runs what an older one did; an older major version may lack what the plan's kernels need."""
    made, here = built.versions.get("driver"), device.versions.get("driver")
    if made is None or here is None or _numbers(here)[:1] >= _numbers(made)[:1]:
        return None
    return f"it was built with driver {made}, here is the older {here}"


def _system(built: BuiltFor, device: Device) -> str | None:
    """No plan goes from a desktop to a Jetson, which alone has a version of L4T, nor back.

    One that was built without a device says nothing of it. The same GPU is the same system, also in a container.
    """
    if built.gpu in (None, device.gpu) or ("l4t" in built.versions) == ("l4t" in device.versions):
        return None
    made, here = (
        "a Jetson" if "l4t" in versions else "no Jetson" for versions in (built.versions, device.versions)
    )
    return f"it was built on {made}, this is {here}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
