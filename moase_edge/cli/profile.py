"""`moase-edge profile`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.as_options import as_options
from moase_edge.cli.options import Artifact, Camera, Engine, Precision, Threads


@dataclass(frozen=True, slots=True)
class ProfileArguments:
    """The options of `moase-edge profile`, as given."""

    camera: Camera = None
    source: Annotated[
        str | None,
        typer.Option(help="What to answer; files begin again at their end. Default: synthetic frames, 1280x720."),
    ] = None
    artifact: Artifact = None
    engine: Engine = "auto"
    precision: Precision = None
    adapt: Annotated[str, typer.Option(help="What runs beside the frozen model, as `run --adapt`.")] = "every"
    threads: Threads = None
    window: Annotated[int, typer.Option(min=5, help="Frames of a window; modes take turns by windows.")] = 100
    warm_up: Annotated[int, typer.Option(min=0, help="Frames of each mode before the clock counts.")] = 20
    max_frames: Annotated[
        int, typer.Option(min=10, help="End after so many frames, also where windows do not agree.")
    ] = 2000
    gate: Annotated[
        list[str] | None,
        typer.Option(
            help="A bound in milliseconds; ends with code 3 where broken: [frozen.|adapting.][STAGE.]FIGURE<MS, "
            "such as 'p99<40', 'engine.p95<=20' or 'frozen.busy.max<50'. May be given again.",
        ),
    ] = None
    out: Annotated[Path | None, typer.Option(help="Folder for profile.json, frames.csv and trace.json.")] = None
    force: Annotated[bool, typer.Option("--force", help="Replace a profile that is there.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of tables.")] = False


@as_options
def profile(given: ProfileArguments) -> None:
    """Time every stage of a frame, frozen against adapting, interleaved in one run.

    Windows of both modes take turns until the last three of each agree to 5 %. trace.json opens in Perfetto.
    """
    from moase_edge.cli.profile_command import execute

    execute(given)
