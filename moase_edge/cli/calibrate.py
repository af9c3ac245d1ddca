"""`moase-edge calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.extras import needing


def calibrate(
    source: Annotated[
        str, typer.Option(help="Images that are as the model expects them: a folder or glob of pictures, a video.")
    ],
    artifact: Annotated[
        Path | None, typer.Option(help="Artifact folder. Default: the newest under artifacts/.")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=2, help="Take no more than the first so many.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace source statistics that are there.")] = False,
) -> None:
    """Record source statistics on site: mean and spread of what the model sees of images you vouch for.

    The artifact is replaced as a whole by one that holds them; its other files and its identity stay the same.
    """
    with needing("adapt"):
        from moase_edge.artifact.store import load_artifact, newest_artifact
        from moase_edge.calib.on_site import calibrate_source
        from moase_edge.calib.source_data import open_source_data
        from moase_edge.cli.calibrate_view import show

        loaded = load_artifact(artifact or newest_artifact())
        with open_source_data(source) as images:
            written = calibrate_source(loaded, images, max_images=max_frames, force=force)
    show(written)
