"""Python and the packages: which are there, which are too old, which are known to fail together."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata

from moase_edge.runtime.doctor.finding import Finding

Version = Callable[[str], "str | None"]

PART = "packages"
_OLDEST_PYTHON = (3, 10)
# What each is for, and the extra that brings it.
_OPTIONAL: Mapping[str, tuple[str, str]] = {
    "torch": ("to adapt: the trainable sidecar", "adapt"),
    "timm": ("to export: backbones by name", "export"),
    "onnx": ("to export", "export"),
    "scikit-learn": ("for bench on digits and for demo", "bench"),
    "matplotlib": ("for plots in reports", "plot"),
    "starlette": ("for the browser view", "web"),
    "uvicorn": ("for the browser view", "web"),
}
_BASE = ("numpy", "pydantic", "typer", "rich", "opencv-python-headless", "pillow", "safetensors")
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*])?\s*>=\s*([0-9.]+)")


def installed(name: str) -> str | None:
    """Version of a package that is installed, by its metadata: nothing is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def look_at_packages(
    version: Version = installed,
    requirements: Sequence[str] | None = None,
    python: tuple[int, int, int] = sys.version_info[:3],
) -> Iterator[Finding]:
    """Python, the base, what is optional, and what fails together.

    Args:
        version: of an installed package; None for none.
        requirements: of moase-edge, as its metadata states them; None reads them.
        python: its version.
    """
    needed = _oldest(metadata.requires("moase-edge") or [] if requirements is None else requirements)
    current = python[:2] >= _OLDEST_PYTHON
    yield Finding(
        PART,
        "Python",
        ".".join(map(str, python)),
        "ok" if current else "bad",
        "" if current else f"moase-edge needs Python {'.'.join(map(str, _OLDEST_PYTHON))} or newer.",
    )
    for name in _BASE:
        yield _package(name, version(name), needed.get(name), "moase-edge needs it", "pip install moase-edge")
    for name, (purpose, extra) in _OPTIONAL.items():
        yield _package(name, version(name), needed.get(name), purpose, f"pip install 'moase-edge[{extra}]'")
    yield from _together(version)


def _package(name: str, found: str | None, oldest: str | None, purpose: str, command: str) -> Finding:
    if found is None:
        return Finding(PART, name, "not installed", "missing", f"{purpose}: `{command}`")
    if oldest is not None and _numbers(found) < _numbers(oldest):
        return Finding(PART, name, found, "bad", f"{oldest} or newer is needed: `pip install -U {name}`")
    return Finding(PART, name, found)


def _together(version: Version) -> Iterator[Finding]:
    """Packages that exclude each other, or do not fit."""
    if version("onnxruntime") and version("onnxruntime-gpu"):
        yield Finding(
            PART,
            "onnxruntime and onnxruntime-gpu",
            "both installed",
            "bad",
            "the one hides the other's providers: `pip uninstall onnxruntime onnxruntime-gpu`, then install one.",
        )
    opencv = [name for name in _OPENCV if version(name)]
    if len(opencv) > 1:
        yield Finding(
            PART,
            " and ".join(opencv),
            "all installed",
            "bad",
            f"they write the same files: `pip uninstall {' '.join(opencv)}`, then install one.",
        )
    if version("torch") and version("timm") and not version("torchvision"):
        yield Finding(
            PART, "torchvision", "not installed", "missing", "timm imports it: `pip install 'moase-edge[export]'`"
        )
    torch, torchvision = version("torch"), version("torchvision")
    if torch and torchvision and ("+cpu" in torch) != ("+cpu" in torchvision):
        yield Finding(
            PART,
            "torch and torchvision",
            f"{torch} and {torchvision}",
            "bad",
            "one is built for the CPU alone and the other is not, so importing timm may fail: install both with "
            "`uv pip install --reinstall torch torchvision`.",
        )


def _oldest(requirements: Sequence[str]) -> dict[str, str]:
    matches = filter(None, map(_REQUIREMENT.match, requirements))
    return {match[1].lower(): match[2] for match in matches}


def _numbers(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: "2.4.0a1" -> (2, 4, 0)."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
