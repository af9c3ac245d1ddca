"""`moase-edge run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.as_options import as_options
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.cli.options import Artifact, Camera, Engine, Precision, Threads
from moase_edge.config.names import Pace

INTERRUPTED = "interrupted before the first frame; nothing was written"


@dataclass(frozen=True, slots=True)
class StateArguments:
    """The options of `run` about the state, as given; None where one was left out."""

    folder: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Keep what is learned in this folder: a snapshot now and then, one at the end. Any of the four "
            "options below does that too. Default folder: state/ARTIFACT.",
            show_default=False,
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the newest snapshot; in a file, from the frame after it."),
    ] = False
    every_s: Annotated[
        float | None,
        typer.Option("--snapshot-every", help="Seconds between snapshots. Default: 60.", show_default=False),
    ] = None
    keep: Annotated[
        int | None, typer.Option(help="Snapshots that are kept, the newest. Default: 10.", show_default=False)
    ] = None
    keep_days: Annotated[
        int | None,
        typer.Option(
            help="Days for which the latest snapshot of each is kept beside those. Default: 7.", show_default=False
        ),
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether any of them was given: they all mean that a state is kept."""
        return self != StateArguments()


@dataclass(frozen=True, slots=True)
class WebArguments:
    """The options of `run` about the browser view, as given; None where one was left out."""

    address: Annotated[
        str | None,
        typer.Option(
            "--web",
            help="Show the run in a browser at HOST:PORT, such as 127.0.0.1:8080: the picture with its answer, "
            "charts, buttons; /metrics for Prometheus, /healthz, a JSON API. Port 0 takes a free one.",
            show_default=False,
        ),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(
            "--web-token",
            help="Secret that --web asks for; an address that other machines reach needs one. Better in the "
            "environment, where other users do not see it: MOASE_EDGE_WEB_TOKEN.",
            show_default=False,
        ),
    ] = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RunArguments:
    """The options of `moase-edge run`, as given."""

    camera: Camera = None
    source: Annotated[
        str | None,
        typer.Option(
            help="A video file, a picture, a folder or a glob of pictures, camera:N, v4l2:/dev/videoN, csi://N, "
            "or a stream: rtsp://, http(s)://, udp://."
        ),
    ] = None
    pace: Annotated[
        Pace | None,
        typer.Option(
            help="real: play a video by its own clock, dropping what is late; full: as fast as it is answered. "
            "Default: full for files; cameras and streams have no other pace than real.",
            show_default=False,
        ),
    ] = None
    give_up_after_s: Annotated[
        float | None,
        typer.Option(
            "--give-up-after",
            min=0,
            help="End the run once a camera or stream was lost for so many seconds. Default: never; it is opened "
            "again and again, unless it gave no frame at all.",
            show_default=False,
        ),
    ] = None
    artifact: Artifact = None
    engine: Engine = "auto"
    precision: Precision = None
    adapt: Annotated[
        str,
        typer.Option(
            help="every: learn from each frame; every-N: from each N-th; on-shift: as every, but weights learn "
            "while the domain is new; idle: while no newer frame waits; hold: answer adapted, learn nothing; off: "
            "the frozen model, without PyTorch."
        ),
    ] = "every"
    budget_ms: Annotated[
        float | None,
        typer.Option(
            help="Milliseconds from a frame's capture to the next frame. An update that would not fit is put off, "
            "and counted. Default: no limit."
        ),
    ] = None
    fps: Annotated[
        float | None, typer.Option(help="The same as frames per second: 30 is a budget of 33.3 ms.")
    ] = None
    settings: Annotated[
        Path | None, typer.Option(help="JSON file with settings of the learner (track, objectives, lr, ...).")
    ] = None
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None
    threads: Threads = None
    emit: Annotated[
        str | None, typer.Option(help="Hand each answer to other programs: jsonl:- (stdout) or jsonl:FILE.")
    ] = None
    state: StateArguments = field(default_factory=StateArguments)
    web: WebArguments = field(default_factory=WebArguments)
    report: Annotated[
        Path | None, typer.Option(help="Folder for the report. Default: reports/DATE-TIME.", show_default=False)
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace a report that is there.")] = False


@as_options
def run(context: typer.Context, given: RunArguments) -> None:
    """Answer every frame of a camera, stream or file, and learn from it.

    Files are answered frame by frame; a camera or stream gives its newest frame, dropped ones are counted, and a
    lost one is opened again. The report holds a line per frame, latency of every stage, plots and one HTML page;
    Ctrl-C ends the run and still writes it.
    """
    with ended_by_signals(INTERRUPTED):
        from moase_edge.cli.run_command import execute, refuse_further_words

    refuse_further_words(context.args, given.source)
    execute(given)
