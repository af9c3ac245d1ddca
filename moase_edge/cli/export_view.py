"""What `export` shows."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from types import TracebackType

from rich.console import Console

from moase_edge.artifact.manifest import Manifest
from moase_edge.artifact.store import Artifact
from moase_edge.calib.evidence import left_out
from moase_edge.cli.inspect_view import engine_line, preprocess_line, statistics_line
from moase_edge.models.labels import IMAGENET_CLASSES


class ExportView:
    """A line per stage on standard error with its time, and a summary on standard output."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._began_s = self._stage_began_s = perf_counter()
        self._stage: str | None = None

    def __enter__(self) -> ExportView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish_stage()

    def stage(self, name: str) -> None:
        """A stage begins, the one before ended."""
        self._finish_stage()
        self._stage, self._stage_began_s = name, perf_counter()

    def _finish_stage(self) -> None:
        if self._stage is not None:
            self._console.print(
                f"  {perf_counter() - self._stage_began_s:6.1f} s  {self._stage}", markup=False, highlight=False
            )

    def show(self, artifact: Artifact) -> None:
        """What was made, how well it agrees, and how to go on."""
        manifest, console = artifact.manifest, Console()
        sizes = sum(artifact.path(name).stat().st_size for name in manifest.files)
        parity = manifest.parity
        lines = [
            f"{artifact.folder}  {sizes / 2**20:.1f} MiB in {perf_counter() - self._began_s:.1f} s",
            f"  adapts the last {manifest.sidecar.adapt_blocks} of {manifest.sidecar.depth} blocks "
            f"({manifest.moase.preset}, {manifest.moase.experts} experts of rank {manifest.moase.rank})",
            f"  parity with PyTorch, relative: taps {parity.taps:.1e}, logits {parity.logits:.1e}, gradients "
            f"{parity.gradients:.1e}; tolerance {parity.tolerance:.0e}",
            f"  preprocess: {preprocess_line(manifest.preprocess)}",
            *_notes(manifest),
            f"  source statistics: {statistics_line(manifest.source_statistics)}",
            *_engines(manifest),
            *(f"  {precision} is left out: {reason}" for precision, reason in left_out(artifact).items()),
            *_next(artifact),
        ]
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)

    def show_engines(self, artifact: Artifact) -> None:
        """What an artifact runs on, after engines were added."""
        manifest = artifact.manifest
        lines = [str(artifact.folder), *(f"  {engine_line(entry)}" for entry in manifest.engines)]
        lines += _undecided(manifest)
        Console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _next(artifact: Artifact) -> Iterator[str]:
    """How to go on; without source statistics a run would adapt nothing."""
    if not artifact.manifest.source_statistics and artifact.manifest.sidecar.classes > 1:
        yield f"  next: moase-edge calibrate --artifact {artifact.folder} --source PICTURES  (of its own domain)"
        yield f"  then: moase-edge run --artifact {artifact.folder} --camera 0"
    else:
        yield f"  next: moase-edge run --artifact {artifact.folder} --camera 0"


def _engines(manifest: Manifest) -> Iterator[str]:
    """Plans and other precisions; the fp32 graph alone, unmeasured, goes without saying."""
    for entry in manifest.engines:
        if entry.built_for is not None:
            yield f"  plan {engine_line(entry)}"
        elif entry.precision != "fp32" or entry.latency_ms is not None:
            yield f"  engine {engine_line(entry)}"
    yield from _undecided(manifest)


def _undecided(manifest: Manifest) -> Iterator[str]:
    """How an engine will be chosen, where that is open."""
    if not manifest.undecided:
        return
    yield "  which of the precisions runs is decided on the device, at the first run"
    if manifest.targets:
        yield (
            f"    {', '.join(manifest.targets)} gets its plans before that, on the device itself: "
            "moase-edge export --rebuild DIR"
        )


def _notes(manifest: Manifest) -> Iterator[str]:
    """What no check can find, and what costs accuracy or understanding without a word."""
    source, classes = manifest.provenance, manifest.sidecar.classes
    if source.weights == "checkpoint":
        yield (
            f"    that of the name {source.backbone}: the checkpoint does not say with which it was trained, and "
            "another one costs accuracy"
        )
    if manifest.labels is None and classes:
        imagenet = "--labels imagenet, or --labels FILE," if classes == IMAGENET_CLASSES else "--labels FILE"
        yield f"  {classes} classes without names: {imagenet} gives them"
