"""`moase-edge calibrate`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.as_options import as_options
from moase_edge.cli.extras import needing
from moase_edge.cli.given import refuse_given
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.cli.options import Artifact
from moase_edge.config.names import CalibrationMethod
from moase_edge.errors import ConfigError

_INTERRUPTED = "interrupted; nothing was written"


@dataclass(frozen=True, slots=True)
class Int8Arguments:
    """The options of `calibrate` that only `--calib-data` uses."""

    method: Annotated[
        CalibrationMethod, typer.Option(help="How ranges are chosen; auto tries all on held-out frames.")
    ] = "auto"
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Points of top-1 that int8 may lose on held-out frames of --calib-data."
        ),
    ] = 1.0
    min_int8: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of the multiply-adds that must stay in int8.")
    ] = 80.0
    attention: Annotated[
        bool, typer.Option("--attention", help="Let the two products of attention be int8 too.")
    ] = False
    first: Annotated[
        bool,
        typer.Option(
            "--first",
            help="Put the int8 engine before the others, so that `run` takes it. A plan of another precision that "
            "fits goes before it until `export --rebuild` has built its own.",
        ),
    ] = False
    report: Annotated[
        Path | None, typer.Option(help="Folder for the report of --calib-data: JSON, a picture, an HTML page.")
    ] = None


@dataclass(frozen=True, slots=True)
class CalibrateArguments:
    """The options of `moase-edge calibrate`, as given."""

    source: Annotated[
        str | None,
        typer.Option(
            help="For source statistics: images that are as the model expects them: a folder or glob of pictures, "
            "a video.",
            show_default=False,
        ),
    ] = None
    calib_data: Annotated[
        str | None,
        typer.Option(
            help="For an int8 engine: frames as in the deployment: a folder of pictures, a video, a camera.",
            show_default=False,
        ),
    ] = None
    artifact: Artifact = None
    int8: Int8Arguments = field(default_factory=Int8Arguments)
    max_frames: Annotated[
        int | None, typer.Option(min=2, help="Take no more than the first so many of --source.")
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False


@as_options
def calibrate(context: typer.Context, given: CalibrateArguments) -> None:
    """Record source statistics on site, or make an int8 engine from frames of the deployment.

    With --source alone: mean and spread of what the model sees of images you vouch for, at every precision that
    has none. With --calib-data: an int8 engine whose ranges are taken from it, with layers in float where the
    budget asks for it; --source beside it gives the int8 engine its source statistics. The artifact is replaced as
    a whole; its other files stay.
    """
    _refuse_useless(context, given)
    with needing("adapt"), ended_by_signals(_INTERRUPTED):
        from moase_edge.cli.calibrate_command import calibrated
        from moase_edge.cli.calibrate_view import show, show_int8
    with needing("adapt"), ended_by_signals(_INTERRUPTED, unwinding=True):
        written, record = calibrated(given)
    show(written)
    if record is not None:
        show_int8(record, given.int8.report, first=given.int8.first)


def _refuse_useless(context: typer.Context, given: CalibrateArguments) -> None:
    """Refuse what would calibrate nothing, and options that would do nothing."""
    if given.source is None and given.calib_data is None:
        raise ConfigError(
            "nothing to calibrate: name images of the source domain with --source, for source statistics, or "
            "frames of the deployment with --calib-data, for an int8 engine."
        )
    if given.calib_data is None:
        of_int8 = [option.name for option in fields(Int8Arguments)]
        refuse_given(context, of_int8, "need --calib-data, which makes an int8 engine")
    if given.source is None:
        refuse_given(context, ["max_frames"], "needs --source, whose images it counts")
