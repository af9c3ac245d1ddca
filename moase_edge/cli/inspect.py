"""`moase-edge inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    artifact: Annotated[
        Path | None, typer.Argument(help="Artifact folder. Default: the newest under artifacts/.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole manifest as JSON.")] = False,
) -> None:
    """Show what an artifact holds, and check every file against its hash."""
    from rich.console import Console

    from moase_edge.artifact.store import load_artifact, newest_artifact

    loaded = load_artifact(artifact or newest_artifact())
    if json:
        typer.echo(loaded.manifest.model_dump_json(indent=1))
        return
    from moase_edge.cli.inspect_view import manifest_table

    console = Console()
    console.print(manifest_table(loaded))
    console.print(f"{len(loaded.manifest.files)} files, every hash as the manifest says", highlight=False)
