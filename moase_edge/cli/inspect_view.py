"""What `inspect` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from moase_edge.artifact.manifest import EngineEntry, Manifest, SourceStatisticsEntry
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.specs import TensorSpec
from moase_edge.artifact.store import Artifact


def manifest_table(artifact: Artifact) -> Table:
    """The manifest's main facts, one a row."""
    table = Table(title=escape(str(artifact.folder)), show_header=False, title_justify="left")
    for name, value in _facts(artifact.manifest):
        table.add_row(name, escape(value))
    return table


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    source, sidecar, moase, parity = manifest.provenance, manifest.sidecar, manifest.moase, manifest.parity
    yield (
        "backbone",
        f"{source.backbone} ({source.architecture}), {sidecar.depth} blocks, {sidecar.channels} channels",
    )
    yield "weights", source.weights + (f", {source.checkpoint}" if source.checkpoint else "")
    yield "created", f"{manifest.created_at:%Y-%m-%d %H:%M:%S %Z} by moase-edge {manifest.moase_edge_version}"
    yield (
        "task",
        f"{manifest.task}, {sidecar.classes or 'no'} classes, {'named' if manifest.labels else 'unnamed'}",
    )
    yield "preprocess", preprocess_line(manifest.preprocess)
    form = f"{moase.preset}, {moase.experts} experts of rank {moase.rank}"
    yield "adapters", f"in the last {sidecar.adapt_blocks} blocks, {form}"
    for tensor in (*manifest.inputs, *manifest.outputs):
        yield tensor.name, f"{_shape(tensor)}  {tensor.meaning}"
    yield "steerable", "at every block, by `shift`" if manifest.steerable else "no"
    for engine in manifest.engines:
        yield "engine", engine_line(engine)
    if manifest.undecided:
        planned = f", with plans built on {', '.join(manifest.targets)}" if manifest.targets else ""
        yield "to run", f"the fastest of them, measured at the first run on a device{planned}"
    yield "parity", f"taps {parity.taps:.1e}, logits {parity.logits:.1e}, gradients {parity.gradients:.1e}"
    yield "source statistics", statistics_line(manifest.source_statistics)
    yield "identity", manifest.identity


def engine_line(entry: EngineEntry) -> str:
    """File, what runs it, precision, of a plan what it fits, and what was measured."""
    return "; ".join([_engine(entry), *_evidence(entry)])


def _evidence(entry: EngineEntry) -> Iterator[str]:
    """Agreement with fp32, and latency, where they are known."""
    if entry.parity is not None:
        answers = (
            "" if entry.parity.top1_agreement is None else f", {entry.parity.top1_agreement:.1%} same answers"
        )
        yield (
            f"against fp32: taps {entry.parity.relative_error:.1e} (cosine {entry.parity.cosine:.4f}), gradients "
            f"{entry.parity.gradients:.1e}{answers}"
        )
    if entry.latency_ms is not None:
        yield f"{entry.latency_ms:.2f} ms a frame in {entry.measured_on}"


def _engine(entry: EngineEntry) -> str:
    facts = f"{entry.file}: {entry.runtime}, {entry.precision}"
    if entry.built_for is None:
        return f"{facts}, opset {entry.opset}"
    version = entry.built_for.versions.get(entry.runtime, "of unknown version")
    fits = (
        [entry.built_for.target] if entry.built_for.gpu is None else [entry.built_for.target, entry.built_for.gpu]
    )
    fits += ["and later GPUs"] if entry.built_for.hardware_compatible else []
    fits += ["and later versions"] if entry.built_for.version_compatible else []
    made = ["in TF32"] if entry.built_for.tf32 else []
    made += [f"within {workspace} MiB"] if (workspace := entry.built_for.workspace_mib) is not None else []
    return ", ".join(
        [facts, f"version {version}, for {' '.join(fits)}", _batch(entry), *made, f"from {entry.source}"]
    )


def _batch(entry: EngineEntry) -> str:
    if entry.batch is None:
        return "any batch"
    least, most = entry.batch
    usual = entry.built_for and entry.built_for.usual_batch
    most_often = f" (tuned for {usual})" if usual else ""
    return f"batch {least}" if least == most else f"batch {least} to {most}{most_often}"


def preprocess_line(spec: PreprocessSpec) -> str:
    """Size, crop, interpolation and normalisation: what a model must be given the way it was trained."""
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (spec.mean, spec.std))
    size = f"{spec.height}x{spec.width}, {spec.crop_mode} crop {spec.crop_pct:g}, {spec.interpolation}"
    return f"{size}, mean {mean}, std {std}"


def statistics_line(entries: Sequence[SourceStatisticsEntry]) -> str:
    """From what source statistics were taken, for people."""
    return "; ".join(map(_statistics, entries)) or "none"


def _statistics(entry: SourceStatisticsEntry) -> str:
    return f"from {entry.count} images of {entry.data} by {entry.command}, {entry.precision}, {entry.engine}"


def _shape(tensor: TensorSpec) -> str:
    return "x".join("B" if size is None else str(size) for size in tensor.shape)
