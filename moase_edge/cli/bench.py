"""`moase-edge bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moase_edge.cli.as_options import as_options
from moase_edge.cli.extras import needing
from moase_edge.cli.given import given_options
from moase_edge.cli.interrupt import ended_by_signals


@dataclass(frozen=True, slots=True)
class BenchArguments:
    """The options of `moase-edge bench`, as given."""

    data: Annotated[
        str,
        typer.Option(
            help="digits, a folder of labelled pictures, or cifar10c:DIR, cifar100c:DIR, imagenetc:DIR.",
        ),
    ] = "digits"
    backbone: Annotated[str, typer.Option(help="The source model, as export takes it.")] = "digits_vit"
    checkpoint: Annotated[
        Path | None, typer.Option(help="Its weights. Default: published ones, fetched.", show_default=False)
    ] = None
    labels: Annotated[
        Path | None, typer.Option(help="Names of its classes: a line each, or JSON.", show_default=False)
    ] = None
    methods: Annotated[
        str, typer.Option(help="Comma list; `split`: all that run on the engine; `all`: those and whole networks.")
    ] = "split"
    protocols: Annotated[
        str, typer.Option(help="Comma list with options, as clips:frames=6,order=shuffled; or `all`.")
    ] = "continual,clips"
    corruptions: Annotated[
        str,
        typer.Option(help="The domains, in order: a comma list; `default`: 8; `common`: 15; `all`: 19; `shifts`."),
    ] = "default"
    severity: Annotated[int, typer.Option(min=1, max=5, help="Of every domain.")] = 5
    pictures: Annotated[
        int | None, typer.Option(min=2, help="How many each domain shows. Default: all that are left.")
    ] = None
    source_images: Annotated[int, typer.Option(min=0, help="Pictures kept aside as source images.")] = 100
    batch_size: Annotated[int, typer.Option(min=1, help="Where the protocol leaves it open.")] = 16
    seeds: Annotated[str, typer.Option(help="Comma list; a whole benchmark for each.")] = "0"
    settings: Annotated[
        Path | None, typer.Option(help="JSON file with settings of the shipped method, as run takes it.")
    ] = None
    adapt_blocks: Annotated[int, typer.Option(min=1, help="Last blocks that the shipped method adapts.")] = 1
    jobs: Annotated[int, typer.Option(min=1, help="Processes. Results do not depend on it.")] = 1
    threads: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 1
    out: Annotated[
        Path | None,
        typer.Option(help="Folder. Default: reports/bench-HASH, of the settings, so that a command resumes."),
    ] = None
    experiment: Annotated[
        str | None,
        typer.Option(help="One that is set up: its methods and domains, and a figure of its own; see --list."),
    ] = None
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Compare the results in two folders, and run nothing.")
    ] = None
    labelled: Annotated[
        Path | None,
        typer.Option(help="A few dozen labelled pictures of your own camera: does adapting pay there?"),
    ] = None
    artifact: Annotated[
        Path | None, typer.Option(help="With --labelled: artifact folder. Default: the newest under artifacts/.")
    ] = None
    force: Annotated[bool, typer.Option("--force", help="With --labelled: replace a report.")] = False
    list_names: Annotated[
        bool, typer.Option("--list", help="List methods, protocols and domains, and run nothing.")
    ] = False


@as_options
def bench(context: typer.Context, given: BenchArguments) -> None:
    """Measure whether adapting pays: methods beside each other on labelled streams, through the shipped pipeline.

    Every cell (method, protocol, seed) is kept as soon as it is done; the same command continues where it was
    stopped. The folder then holds bench.json, results.md, plots and report.html.
    """
    with needing("bench,cpu"):
        with ended_by_signals("interrupted; nothing was written"):
            from moase_edge.cli.bench_command import execute

        execute(given, given_options(context))
