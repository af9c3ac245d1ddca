"""`moase-edge demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.extras import needing
from moase_edge.cli.interrupt import ended_by_signals


def demo(
    out: Annotated[Path, typer.Option(help="Folder for artifact and report.")] = Path("build/demo"),
    frames: Annotated[int, typer.Option(min=10, help="Frames of each domain.")] = 120,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of the order of pictures and of their corruption.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo.")] = False,
) -> None:
    """The whole path on data that ships with the package: export, stream frozen, stream adapting, report.

    Handwritten digits drift through corruptions that the small model never saw. Needs no network, camera or GPU.
    """
    with needing("bench,cpu"), ended_by_signals("interrupted; nothing was written"):
        from moase_edge.bench.demo import run_demo
        from moase_edge.cli.demo_view import DemoView
    with (
        needing("bench,cpu"),
        ended_by_signals("interrupted; the demo is not complete, and --force starts it anew"),
        DemoView() as view,
    ):
        outcome = run_demo(out, frames_per_domain=frames, seed=seed, force=force, on_stage=view.stage)
    view.show(outcome)
