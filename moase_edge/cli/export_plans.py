"""What `export` does about plans."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moase_edge.cli.extras import needing
from moase_edge.cli.given import given_options, refuse_given
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.config.names import PlanEngine, PrecisionChoice
from moase_edge.errors import ConfigError

if TYPE_CHECKING:
    from moase_edge.export.plan_targets import PlanRequest
    from moase_edge.export.wanted import PrecisionRequest

_INTERRUPTED = "interrupted; the artifact is as it was"


@dataclass(frozen=True, slots=True)
class PlanArguments:
    """The options of `export` about plans, as given."""

    engine: Annotated[
        PlanEngine | None,
        typer.Option(
            help="Plans beside the ONNX graph: none (ort), of TensorRT proper for the GPU at hand, of "
            "TensorRT-RTX, or the best that can build here. Default: ort, and auto with --rebuild.",
            show_default=False,
        ),
    ] = None
    target: Annotated[
        list[str] | None,
        typer.Option(help="GPU that plans are for, as sm86; may be repeated. Default: the GPU at hand."),
    ] = None
    batch: Annotated[str, typer.Option(help="Frames that a plan takes at once: 4, 1..8 or 1..4..8.")] = "1"
    workspace_mib: Annotated[
        int | None, typer.Option(min=1, help="Memory that a layer of a plan may take. Default: all.")
    ] = None
    tf32: Annotated[bool, typer.Option("--tf32", help="Plans compute float32 in TF32: faster, less exact.")] = (
        False
    )
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Plans that later versions of TensorRT run too.")
    ] = False
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="Plans that every GPU from Ampere on runs.")
    ] = False


def plan_request(given: PlanArguments, *, rebuilding: bool) -> PlanRequest:
    """The request that these options make.

    Raises:
        ConfigError: a batch or another setting that is none.
    """
    from moase_edge.config.base import load_settings
    from moase_edge.config.plan import PlanSettings, parse_batch
    from moase_edge.export.plan_targets import PlanRequest

    engine: PlanEngine = given.engine or ("auto" if rebuilding else "ort")
    settings = load_settings(
        PlanSettings,
        {
            "batch": parse_batch(given.batch),
            "workspace_mib": given.workspace_mib,
            "tf32": given.tf32,
            "version_compatible": given.version_compatible,
            "hardware_compatible": given.hardware_compatible,
        },
    )
    if engine == "ort" and settings != PlanSettings():
        raise ConfigError(
            "batch, workspace and the like are of a plan, and no plan is asked for. Give --engine as well; an "
            "ONNX graph takes any batch."
        )
    return PlanRequest(engine, tuple(given.target or ()), settings)


def refuse_beside_rebuild(context: typer.Context, allowed: Collection[str]) -> None:
    """Refuse options that `--rebuild` would have to ignore.

    Raises:
        ConfigError: naming them.
    """
    given = [option for name, option in given_options(context).items() if name not in allowed]
    if given:
        raise ConfigError(
            f"--rebuild keeps the artifact's model and place: leave {', '.join(given)} out, or export anew."
        )


def precision_request(
    context: typer.Context, precision: PrecisionChoice, source_data: str | None, calib_data: str | None
) -> PrecisionRequest | None:
    """What `--rebuild` shall do about precisions; None where none is named.

    Raises:
        ConfigError: images without a precision, whose graph they would serve to make.
    """
    from moase_edge.export.wanted import PrecisionRequest

    if "precision" in given_options(context):
        return PrecisionRequest(precision, source_data=source_data, calib_data=calib_data)
    refuse_given(context, ("source_data", "calib_data"), "can only serve --precision beside --rebuild")
    return None


def rebuild_here(folder: Path, plans: PlanRequest, precision: PrecisionRequest | None) -> None:
    """Make what an artifact lacks, and show what it holds then."""
    with needing("export"), ended_by_signals(_INTERRUPTED, unwinding=True):
        from moase_edge.cli.export_view import ExportView
        from moase_edge.export.rebuild import rebuild_artifact

        with ExportView() as view:
            artifact = rebuild_artifact(folder, plans, precision=precision, on_stage=view.stage)
    view.show_engines(artifact)
