"""What `export` does about plans."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from moase_edge.cli.given import is_given
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.config.names import PlanEngine
from moase_edge.errors import ConfigError

if TYPE_CHECKING:
    from moase_edge.export.plan_targets import PlanRequest

_INTERRUPTED = "interrupted; the artifact is as it was"


def plan_request(engine: PlanEngine, targets: Sequence[str], batch: str, **settings: object) -> PlanRequest:
    """The request that these options make.

    Raises:
        ConfigError: a batch or another setting that is none.
    """
    from moase_edge.config.base import load_settings
    from moase_edge.config.plan import PlanSettings, parse_batch
    from moase_edge.export.plan_targets import PlanRequest

    plan_settings = load_settings(PlanSettings, {"batch": parse_batch(batch), **settings})
    if engine == "ort" and plan_settings != PlanSettings():
        raise ConfigError(
            "batch, workspace and the like are of a plan, and no plan is asked for. Give --engine as well; an "
            "ONNX graph takes any batch."
        )
    return PlanRequest(engine, tuple(targets), plan_settings)


def refuse_beside_rebuild(context: typer.Context, allowed: Collection[str]) -> None:
    """Refuse options that `--rebuild` would have to ignore.

    Raises:
        ConfigError: naming them.
    """
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in allowed and is_given(context, parameter.name)
    ]
    if given:
        raise ConfigError(
            f"--rebuild keeps the artifact's model and place: leave {', '.join(given)} out, or export anew."
        )


def rebuild_here(folder: Path, plans: PlanRequest) -> None:
    """Make the plans that an artifact lacks, and show what it holds then."""
    with ended_by_signals(_INTERRUPTED, unwinding=True):
        from moase_edge.cli.export_view import ExportView
        from moase_edge.export.rebuild import rebuild_artifact

        with ExportView() as view:
            artifact = rebuild_artifact(folder, plans, on_stage=view.stage)
    view.show_engines(artifact)
