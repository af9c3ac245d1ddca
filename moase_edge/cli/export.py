"""`moase-edge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.extras import needing
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.config.names import PlanEngine, PrecisionChoice, Preset
from moase_edge.errors import ConfigError

_INTERRUPTED = "interrupted; nothing was written"


# What `--rebuild` takes; everything else is settled by the artifact.
_OF_PLANS = {
    "rebuild",
    "engine",
    "target",
    "batch",
    "workspace_mib",
    "tf32",
    "version_compatible",
    "hardware_compatible",
}


def export(
    context: typer.Context,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="vit_b16, deit_tiny, ..., timm's own name, or digits_vit (the demo's).", show_default=False
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights: .safetensors, or a .pth that holds weights only.")
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained/--no-pretrained",
            help="Fetch the published weights (the default without --checkpoint), or take random ones.",
            show_default=False,
        ),
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=0, help="Classes of the head; 0 for none. Default: the weights' own.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Class names: a file with a line each, a JSON list or index to name; or `imagenet`."),
    ] = None,
    adapt_blocks: Annotated[int, typer.Option(help="Adapt the last k blocks.")] = 1,
    preset: Annotated[Preset, typer.Option(help="Form of the adapter: edge (ours), paper, or official.")] = "edge",
    experts: Annotated[int, typer.Option(help="Experts of an adapter, an even number.")] = 4,
    rank: Annotated[int, typer.Option(help="Hidden width of one expert.")] = 48,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of random weights and of the adapters' start.")
    ] = 0,
    source_data: Annotated[
        str | None,
        typer.Option(
            help="Images the model was made for (a folder or glob of pictures, a video): record their statistics."
        ),
    ] = None,
    calib_data: Annotated[
        str | None,
        typer.Option(
            help="Frames as the device will see them (a folder or glob of pictures, a video): int8 takes its "
            "ranges from them, and precisions are compared on them."
        ),
    ] = None,
    precision: Annotated[
        PrecisionChoice,
        typer.Option(help="Of the engine to run; auto keeps the fastest that agrees with fp32."),
    ] = "fp32",
    steer: Annotated[
        bool,
        typer.Option(help="An engine that `run` can also correct from inside, where that makes answers surer."),
    ] = True,
    engine: Annotated[
        PlanEngine | None,
        typer.Option(
            help="Plans beside the ONNX graph: none (ort), of TensorRT proper for the GPU at hand, of "
            "TensorRT-RTX, or the best that can build here. Default: ort, and auto with --rebuild.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="GPU that plans are for, as sm86; may be repeated. Default: the GPU at hand."),
    ] = None,
    batch: Annotated[str, typer.Option(help="Frames that a plan takes at once: 4, 1..8 or 1..4..8.")] = "1",
    workspace_mib: Annotated[
        int | None, typer.Option(min=1, help="Memory that a layer of a plan may take. Default: all.")
    ] = None,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Plans compute float32 in TF32: faster, less exact.")
    ] = False,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Plans that later versions of TensorRT run too.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="Plans that every GPU from Ampere on runs.")
    ] = False,
    rebuild: Annotated[
        Path | None,
        typer.Option(help="Make the plans that this artifact lacks here, and nothing else.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: artifacts/BACKBONE.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")] = False,
) -> None:
    """Build an artifact: the frozen backbone as an ONNX engine, the trainable sidecar, proof that they agree."""
    from moase_edge.cli.export_plans import plan_request, rebuild_here, refuse_beside_rebuild

    plans = plan_request(
        engine or ("ort" if rebuild is None else "auto"),
        target or [],
        batch,
        workspace_mib=workspace_mib,
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
    )
    if rebuild is not None:
        refuse_beside_rebuild(context, _OF_PLANS)
        rebuild_here(rebuild, plans)
        return
    if backbone is None:
        raise ConfigError("nothing to export: name a model with --backbone, or an artifact with --rebuild.")
    with needing("export"), ended_by_signals(_INTERRUPTED):
        from moase_edge.cli.export_view import ExportView
        from moase_edge.config.base import load_settings
        from moase_edge.config.moase import MoaseSettings
        from moase_edge.export.bundle import export_artifact
        from moase_edge.export.request import ExportRequest
    with needing("export"), ended_by_signals(_INTERRUPTED, unwinding=True):
        moase = load_settings(MoaseSettings, {"preset": preset, "experts": experts, "rank": rank})
        request = ExportRequest(
            backbone=backbone,
            checkpoint=checkpoint,
            pretrained=pretrained,
            num_classes=num_classes,
            labels=labels,
            adapt_blocks=adapt_blocks,
            moase=moase,
            seed=seed,
            source_data=source_data,
            steer=steer,
            plans=plans,
            precision=precision,
            calib_data=calib_data,
        )
        folder = out or Path("artifacts") / backbone
        with ExportView() as view:
            artifact = export_artifact(request, folder, force=force, on_stage=view.stage)
    view.show(artifact)
