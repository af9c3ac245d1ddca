"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moase_edge.config.names import EngineName
from moase_edge.config.precision import GraphPrecision

Artifact = Annotated[Path | None, typer.Option(help="Artifact folder. Default: the newest under artifacts/.")]
Camera = Annotated[int | None, typer.Option(min=0, help="Number of a camera: N is /dev/videoN.")]
Engine = Annotated[
    EngineName,
    typer.Option(help="What runs the backbone; auto takes the best that the artifact and this device have."),
]
Precision = Annotated[
    GraphPrecision | None,
    typer.Option(help="Take an engine of this precision and no other. Default: as --engine finds the best."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads of the engine, and of PyTorch where the sidecar sees many tokens (else it takes one). "
        "Default: their own choice.",
    ),
]
