"""How a plan that is spoilt is built once more."""

from __future__ import annotations

import shlex
from pathlib import Path

from moase_edge.artifact.manifest import EngineEntry
from moase_edge.config.plan import PlanSettings, options_of


def command_again(folder: Path, entry: EngineEntry) -> str | None:
    """What to do, a sentence with the command that builds the same plan; None for a graph."""
    built = entry.built_for
    if built is None:
        return None
    # TensorRT proper takes the GPU at hand for its target.
    target, where = (["--target", built.target], "") if built.gpu is None else ([], f" on the {built.gpu}")
    command = ["moase-edge", "export", "--rebuild", str(folder), "--engine", entry.runtime, *target]
    told = shlex.join([*command, *options_of(settings_of(entry))])
    return f"Build it anew{where}: `{told}`, or copy the artifact again."


def settings_of(entry: EngineEntry) -> PlanSettings:
    """Those that a plan was built with, as far as its manifest says."""
    least, most = entry.batch or (1, 1)
    if (built := entry.built_for) is None:
        return PlanSettings()
    return PlanSettings(
        batch=(least, built.usual_batch or least, most),
        workspace_mib=built.workspace_mib,
        tf32=built.tf32,
        version_compatible=built.version_compatible,
        hardware_compatible=built.hardware_compatible,
    )
