"""`moase-edge export`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moase_edge.cli.as_options import as_options
from moase_edge.cli.export_plans import (
    PlanArguments,
    plan_request,
    precision_request,
    rebuild_here,
    refuse_beside_rebuild,
)
from moase_edge.cli.extras import needing
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.config.names import PrecisionChoice, Preset
from moase_edge.errors import ConfigError

if TYPE_CHECKING:
    from moase_edge.export.plan_targets import PlanRequest
    from moase_edge.export.request import ExportRequest

_INTERRUPTED = "interrupted; nothing was written"
# What `--rebuild` takes; everything else is settled by the artifact.
_OF_REBUILD = {
    *("rebuild", "precision", "source_data", "calib_data"),
    *(option.name for option in fields(PlanArguments)),
}


@dataclass(frozen=True, slots=True)
class BackboneArguments:
    """The options of `export` about the model and its weights."""

    backbone: Annotated[
        str | None,
        typer.Option(
            help="vit_b16, deit_tiny, ..., timm's own name, or digits_vit (the demo's).", show_default=False
        ),
    ] = None
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights: .safetensors, or a .pth that holds weights only.")
    ] = None
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained/--no-pretrained",
            help="Fetch the published weights (the default without --checkpoint), or take random ones.",
            show_default=False,
        ),
    ] = None
    num_classes: Annotated[
        int | None, typer.Option(min=0, help="Classes of the head; 0 for none. Default: the weights' own.")
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(help="Class names: a file with a line each, a JSON list or index to name; or `imagenet`."),
    ] = None


@dataclass(frozen=True, slots=True)
class AdapterArguments:
    """The options of `export` about the adapters of the sidecar."""

    adapt_blocks: Annotated[int, typer.Option(help="Adapt the last k blocks.")] = 1
    preset: Annotated[Preset, typer.Option(help="Form of the adapter: edge (ours), paper, or official.")] = "edge"
    experts: Annotated[int, typer.Option(help="Experts of an adapter, an even number.")] = 4
    rank: Annotated[int, typer.Option(help="Hidden width of one expert.")] = 48
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of random weights and of the adapters' start.")
    ] = 0


@dataclass(frozen=True, slots=True)
class ExportArguments:
    """The options of `moase-edge export`, as given."""

    model: BackboneArguments = field(default_factory=BackboneArguments)
    adapter: AdapterArguments = field(default_factory=AdapterArguments)
    source_data: Annotated[
        str | None,
        typer.Option(
            help="Images the model was made for (a folder or glob of pictures, a video): record their statistics."
        ),
    ] = None
    calib_data: Annotated[
        str | None,
        typer.Option(
            help="Frames as the device will see them (a folder or glob of pictures, a video): int8 takes its "
            "ranges from them, and precisions are compared on them."
        ),
    ] = None
    precision: Annotated[
        PrecisionChoice,
        typer.Option(help="Of the engine to run; auto keeps the fastest that agrees with fp32."),
    ] = "fp32"
    steer: Annotated[
        bool,
        typer.Option(help="An engine that `run` can also correct from inside, where that makes answers surer."),
    ] = True
    plans: PlanArguments = field(default_factory=PlanArguments)
    rebuild: Annotated[
        Path | None,
        typer.Option(
            help="Make the plans that this artifact lacks here, with --precision those of it, and its graph.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: artifacts/BACKBONE.", show_default=False)
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")] = False


@as_options
def export(context: typer.Context, given: ExportArguments) -> None:
    """Build an artifact: the frozen backbone as an ONNX engine, the trainable sidecar, proof that they agree."""
    plans = plan_request(given.plans, rebuilding=given.rebuild is not None)
    if given.rebuild is not None:
        refuse_beside_rebuild(context, _OF_REBUILD)
        precision = precision_request(context, given.precision, given.source_data, given.calib_data)
        rebuild_here(given.rebuild, plans, precision)
        return
    backbone = given.model.backbone
    if backbone is None:
        raise ConfigError("nothing to export: name a model with --backbone, or an artifact with --rebuild.")
    with needing("export"), ended_by_signals(_INTERRUPTED):
        from moase_edge.cli.export_view import ExportView
        from moase_edge.export.bundle import export_artifact
    with needing("export"), ended_by_signals(_INTERRUPTED, unwinding=True):
        request = _request(given, backbone, plans)
        folder = given.out or Path("artifacts") / backbone
        with ExportView() as view:
            artifact = export_artifact(request, folder, force=given.force, on_stage=view.stage)
    view.show(artifact)


def _request(given: ExportArguments, backbone: str, plans: PlanRequest) -> ExportRequest:
    from moase_edge.config.base import load_settings
    from moase_edge.config.moase import MoaseSettings
    from moase_edge.export.request import ExportRequest

    model, adapter = given.model, given.adapter
    form = {"preset": adapter.preset, "experts": adapter.experts, "rank": adapter.rank}
    return ExportRequest(
        backbone=backbone,
        checkpoint=model.checkpoint,
        pretrained=model.pretrained,
        num_classes=model.num_classes,
        labels=model.labels,
        adapt_blocks=adapter.adapt_blocks,
        moase=load_settings(MoaseSettings, form),
        seed=adapter.seed,
        source_data=given.source_data,
        steer=given.steer,
        plans=plans,
        precision=given.precision,
        calib_data=given.calib_data,
    )
