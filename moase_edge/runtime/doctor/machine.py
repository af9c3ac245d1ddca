"""Clocks, power, threads, disk and cameras."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from moase_edge.frames.v4l2 import formats_of
from moase_edge.runtime.doctor.finding import Finding
from moase_edge.runtime.hints import clock_hint, governor_files, governor_of

PART = "machine"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ORT_NUM_THREADS")
_MIB = 2**20
_LITTLE_DISK_MIB = 1024
_COMMAND_TIMEOUT_S = 5


def look_at_machine(
    *,
    environment: Mapping[str, str] | None = None,
    governors: Sequence[Path] | None = None,
    dev: Path = Path("/dev"),
    folder: Path = Path(),
) -> Iterator[Finding]:
    """Cores, clocks, power mode, thread settings, free disk, cameras.

    Args:
        environment: variables; None for this process's own.
        governors: see `clock_hint`.
        dev: where cameras are.
        folder: where artifacts, reports and state would be written.
    """
    yield cores(governors)
    mode = power_mode()
    if mode is not None:
        yield mode
    yield threads(os.environ if environment is None else environment)
    yield disk(folder)
    yield from cameras(dev)


def cores(governors: Sequence[Path] | None = None) -> Finding:
    """Cores that this process may use, and how their clock is governed."""
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    files = governor_files() if governors is None else governors
    named = Counter(filter(None, map(governor_of, files)))
    governed = ", ".join(f"{count} on {name}" for name, count in named.items())
    found = f"{usable} of {there}" + (f"; governor: {governed}" if governed else "")
    hint = clock_hint(files)
    return Finding(PART, "cores", found, "note" if hint else "ok", hint or "")


def power_mode(command: Sequence[str] = ("nvpmodel", "-q")) -> Finding | None:
    """A Jetson's power mode; None where there is no such command."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Finding(PART, "power mode", f"unknown: {exc}", "note")
    lines = [line for line in done.stdout.splitlines() if line.startswith("NV Power Mode")]
    mode = lines[0].partition(":")[2].strip() if lines else "unknown"
    full = mode.upper() in ("MAXN", "MAXN_SUPER")
    advice = "" if full else "`sudo nvpmodel -m 0` and `sudo jetson_clocks` give all that it has."
    return Finding(PART, "power mode", mode, "ok" if full else "note", advice)


def threads(environment: Mapping[str, str]) -> Finding:
    """Variables that bind the thread pools of engine and PyTorch."""
    bound = {name: environment[name] for name in _THREAD_VARIABLES if environment.get(name)}
    found = ", ".join(f"{name}={value}" for name, value in bound.items()) or "no variable is set"
    return Finding(
        PART, "threads", found + "; `--threads` sets the engine's, `profile` says which number is fastest"
    )


def disk(folder: Path) -> Finding:
    """Free space where reports and state would go."""
    free_mib = shutil.disk_usage(folder).free // _MIB
    little = free_mib < _LITTLE_DISK_MIB
    advice = "reports, artifacts and snapshots need some: free it, or run in another folder." if little else ""
    return Finding(PART, "disk", f"{free_mib} MiB free in {folder.resolve()}", "bad" if little else "ok", advice)


def cameras(dev: Path = Path("/dev")) -> Iterator[Finding]:
    """Every video device and what it can give."""
    nodes = sorted(dev.glob("video[0-9]*"), key=lambda node: (len(node.name), node.name))
    if not nodes:
        yield Finding(
            PART, "cameras", f"no video device in {dev}", "note", "--source takes files and network streams too."
        )
    for node in nodes:
        try:
            card, formats = formats_of(node)
        except OSError as exc:
            advice = f"`sudo usermod -aG video {os.environ.get('USER', '$USER')}`, then log in again."
            denied = isinstance(exc, PermissionError)
            yield Finding(
                PART, str(node), f"{exc.strerror}", "bad" if denied else "note", advice if denied else ""
            )
            continue
        gives = ", ".join(formats) or "no pictures (a node beside a camera's own)"
        yield Finding(PART, str(node), f"{card}: {gives}", "ok" if formats else "note")
