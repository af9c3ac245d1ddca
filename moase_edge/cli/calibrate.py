"""`moase-edge calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moase_edge.cli.extras import needing
from moase_edge.cli.given import refuse_given
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.config.names import CalibrationMethod
from moase_edge.errors import ConfigError

if TYPE_CHECKING:
    from moase_edge.artifact.store import Artifact


_INTERRUPTED = "interrupted; nothing was written"
_OF_INT8 = ("method", "max_drop", "min_int8", "attention", "first", "report")


def calibrate(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Option(
            help="For source statistics: images that are as the model expects them: a folder or glob of pictures, "
            "a video.",
            show_default=False,
        ),
    ] = None,
    calib_data: Annotated[
        str | None,
        typer.Option(
            help="For an int8 engine: frames as in the deployment: a folder of pictures, a video, a camera.",
            show_default=False,
        ),
    ] = None,
    artifact: Annotated[
        Path | None, typer.Option(help="Artifact folder. Default: the newest under artifacts/.")
    ] = None,
    method: Annotated[
        CalibrationMethod, typer.Option(help="How ranges are chosen; auto tries all on held-out frames.")
    ] = "auto",
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Points of top-1 that int8 may lose on held-out frames of --calib-data."
        ),
    ] = 1.0,
    min_int8: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of the multiply-adds that must stay in int8.")
    ] = 80.0,
    attention: Annotated[
        bool, typer.Option("--attention", help="Let the two products of attention be int8 too.")
    ] = False,
    first: Annotated[
        bool, typer.Option("--first", help="Put the int8 engine before the others, so that `run` takes it.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for the report of --calib-data: JSON, a picture, an HTML page.")
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=2, help="Take no more than the first so many of --source.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Record source statistics on site, or make an int8 engine from frames of the deployment.

    With --source alone: mean and spread of what the model sees of images you vouch for. With --calib-data: an
    int8 engine whose ranges are taken from it, with layers in float where the budget asks for it; --source beside
    it gives the int8 engine its source statistics. The artifact is replaced as a whole; its other files stay.
    """
    if source is None and calib_data is None:
        raise ConfigError(
            "nothing to calibrate: name images of the source domain with --source, for source statistics, or "
            "frames of the deployment with --calib-data, for an int8 engine."
        )
    refuse_given(context, _OF_INT8 if calib_data is None else (), "need --calib-data, which makes an int8 engine")
    refuse_given(context, ("max_frames",) if source is None else (), "needs --source, whose images it counts")
    with needing("adapt"), ended_by_signals(_INTERRUPTED):
        from moase_edge.artifact.store import load_artifact, newest_artifact
        from moase_edge.calib.command import Int8Request, make_int8
        from moase_edge.cli.calibrate_view import announce, show, show_int8
    with needing("adapt"), ended_by_signals(_INTERRUPTED, unwinding=True):
        loaded = load_artifact(artifact or newest_artifact())
        if calib_data is None:
            _statistics(loaded, source or "", max_frames, force=force)
            return
        request = Int8Request(
            calib_data,
            method=method,
            max_drop=max_drop,
            least_int8=min_int8 / 100,
            attention=attention,
            source=source,
            max_images=max_frames,
            first=first,
            report=report,
        )
        written, record = make_int8(loaded, request, force=force, announce=announce)
    show(written)
    show_int8(record, report)


def _statistics(artifact: Artifact, source: str, max_frames: int | None, *, force: bool) -> None:
    from moase_edge.calib.on_site import calibrate_source
    from moase_edge.calib.source_data import open_source_data
    from moase_edge.cli.calibrate_view import show

    with open_source_data(source) as images:
        written = calibrate_source(artifact, images, max_images=max_frames, force=force)
    show(written)
