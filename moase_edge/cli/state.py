"""`moase-edge state`: look at what was learned, go back, forget it, or make one plain file of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.extras import needing
from moase_edge.cli.options import Artifact

state = typer.Typer(
    help="Snapshots of what runs have learned: list, show, rollback, reset, bake.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path | None,
    typer.Option("--state", help="Folder of the snapshots. Default: state/ARTIFACT.", show_default=False),
]
Name = Annotated[
    str | None, typer.Argument(help="Number or file name of a snapshot. Default: the newest.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@state.command("list")
def list_snapshots(folder: Folder = None, artifact: Artifact = None, json: AsJson = False) -> None:
    """List the snapshots: age, frames, size, and whether they fit the artifact."""
    from moase_edge.cli.state_command import opened_state
    from moase_edge.cli.state_view import print_list

    print_list(opened_state(folder, artifact), as_json=json)


@state.command()
def show(name: Name = None, folder: Folder = None, artifact: Artifact = None, json: AsJson = False) -> None:
    """Show one snapshot: domains, counts, distance from the source, the guard; its hash is checked."""
    from moase_edge.cli.state_command import opened_state
    from moase_edge.cli.state_view import print_snapshot

    print_snapshot(opened_state(folder, artifact), name, as_json=json)


@state.command()
def rollback(
    name: Annotated[
        str | None,
        typer.Argument(help="Number or file name. Default: the one before the newest.", show_default=False),
    ] = None,
    folder: Folder = None,
    artifact: Artifact = None,
) -> None:
    """Make an earlier snapshot the one to resume from; later ones are set aside, and can be taken back by name."""
    from moase_edge.cli.state_command import opened_state, roll_back

    for line in roll_back(opened_state(folder, artifact), name):
        typer.echo(line)


@state.command()
def reset(
    folder: Folder = None,
    artifact: Artifact = None,
    force: Annotated[bool, typer.Option("--force", help="Needed: snapshots are removed for good.")] = False,
) -> None:
    """Remove every snapshot, those set aside too: the next run starts from the artifact."""
    from moase_edge.cli.state_command import clear, opened_state

    typer.echo(clear(opened_state(folder, artifact), force=force))


@state.command()
def bake(
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    name: Name = None,
    folder: Folder = None,
    artifact: Artifact = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Fold what was learned into one plain ONNX file that answers as `run --adapt hold` does."""
    with needing("export"):
        from moase_edge.cli.state_command import bake_snapshot, opened_state

        for line in bake_snapshot(opened_state(folder, artifact), name, out, force=force):
            typer.echo(line)
