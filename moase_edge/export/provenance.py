"""Who an artifact is and how it was made: identity, versions, a script that makes it again."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

from torch import Tensor, nn

from moase_edge.artifact.manifest import Provenance, SourceStatisticsEntry, canonical_json
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.specs import SidecarSpec
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.names import PrecisionChoice

_PACKAGES = ("moase-edge", "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")


def installed_versions() -> dict[str, str]:
    """Versions of the packages that take part in an export."""
    return {name: version for name in _PACKAGES if (version := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes of a state dict on the CPU."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous()
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
        digest.update(tensor.flatten().numpy().data)
    return digest.hexdigest()


def identity_of(
    model: nn.Module,
    sidecar: nn.Module,
    spec: SidecarSpec,
    moase: MoaseSettings,
    preprocess: PreprocessSpec,
    *,
    steer: bool = False,
) -> str:
    """What adapted state is bound to: weights of both sides, split, MoASE settings, preprocessing, steering."""
    parts: dict[str, object] = {
        "backbone": weights_hash(model.state_dict()),
        "sidecar": weights_hash(sidecar.state_dict()),
        "split": spec.model_dump(mode="json"),
        "moase": _moase(moase),
        "preprocess": preprocess.model_dump(mode="json"),
        "precision": "fp32",
    }
    # Only where it is so, because what was exported before there was steering keeps its identity.
    if steer:
        parts["steerable"] = True
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def _moase(moase: MoaseSettings) -> dict[str, object]:
    """As it is hashed: what came later only where it is set, so that older artifacts keep their identity."""
    later = {name for name in ("sdd_share", "without") if getattr(moase, name) == _default(name)}
    return moase.model_dump(mode="json", exclude=later)


def _default(name: str) -> object:
    return MoaseSettings.model_fields[name].default


def reproduce_script(
    provenance: Provenance,
    adapt_blocks: int,
    moase: MoaseSettings,
    classes: int,
    *,
    labels: bool = False,
    statistics: SourceStatisticsEntry | None = None,
    steer: bool = False,
    plans: Sequence[str] = (),
    precision: PrecisionChoice = "fp32",
    calibrated: bool = False,
) -> str:
    """A shell script that makes the artifact again; it names no path of the machine it was made on.

    Args:
        classes: K, as `--num-classes` takes it.
        labels: whether class names came from a file.
        statistics: what source statistics were recorded from.
        steer: whether the engine takes a shift.
        precision: as it was asked for.
        calibrated: whether there were calibration frames.
        plans: options that build the plans it was exported with.
    """
    lines = ["#!/bin/sh", "# Makes this artifact again. It was made with:"]
    lines += [f"#   {name} {version}" for name, version in sorted(provenance.versions.items())]
    lines += ["set -eu", *_unsettable(moase)]
    engine = [] if steer else ["--no-steer"]
    engine += [] if precision == "fp32" else ["--precision", precision]
    line = shlex.join([*_command(provenance, adapt_blocks, moase, classes), *engine, *plans])
    for option, variable, meaning in _inputs(
        provenance, labels=labels, statistics=statistics, calibrated=calibrated
    ):
        lines += _required(variable, meaning)
        line += f' {option} "${variable}"'
    lines += [*_required("OUT", "the folder to write"), line + ' --out "$OUT" "$@"']
    return "\n".join(lines) + "\n"


def _command(provenance: Provenance, adapt_blocks: int, moase: MoaseSettings, classes: int) -> list[str]:
    """The export of the same model with the same adapters."""
    origin = {"pretrained": ["--pretrained"], "random": ["--no-pretrained"], "checkpoint": []}
    return [
        *("moase-edge", "export", "--backbone", provenance.backbone),
        *origin[provenance.weights],
        *("--num-classes", str(classes), "--adapt-blocks", str(adapt_blocks), "--preset", moase.preset),
        *("--experts", str(moase.experts), "--rank", str(moase.rank), "--seed", str(provenance.seed)),
    ]


def _unsettable(moase: MoaseSettings) -> list[str]:
    """Lines that end the script where a setting was made that no option makes."""
    lines = []
    for name in ("eta", "sdd_share", "without"):
        if (value := getattr(moase, name)) != _default(name):
            said = ", ".join(value) if isinstance(value, tuple) else value
            lines += [_say(f"{name} {said} can only be set from Python"), "exit 2"]
    return lines


def _inputs(
    provenance: Provenance, *, labels: bool, statistics: SourceStatisticsEntry | None, calibrated: bool
) -> Iterator[tuple[str, str, str]]:
    """What whoever runs the script has to bring: an option, the variable it takes, and what that is to be."""
    if provenance.weights == "checkpoint":
        of = f"the checkpoint {provenance.checkpoint}, sha256 {provenance.checkpoint_sha256}"
        yield "--checkpoint", "CHECKPOINT", of
    if labels:
        yield "--labels", "LABELS", "the file of class names, or to imagenet"
    if statistics is not None:
        of = f"the source images: {statistics.data}, of which {statistics.count} count"
        yield "--source-data", "SOURCE_DATA", of
    if calibrated:
        yield "--calib-data", "CALIB_DATA", "the calibration frames"


def _required(variable: str, meaning: str) -> list[str]:
    """Lines that end the script unless a variable is set; whatever `meaning` holds, the shell runs none of it."""
    return [
        f'if [ -z "${{{variable}:-}}" ]; then',
        f"    {_say(f'set {variable} to {meaning}')}",
        "    exit 2",
        "fi",
    ]


def _say(message: str) -> str:
    return f"printf '%s\\n' {shlex.quote(message)} >&2"
