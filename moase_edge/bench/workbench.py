"""What a benchmark works with for one seed: pictures, source images, the subject, streams."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moase_edge.bench.recorded_engine import RecordedEngine
from moase_edge.bench.subject import Subject
from moase_edge.config.bench import BenchSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.data.datasets import DataSet, open_dataset
from moase_edge.data.domains import CLEAN
from moase_edge.data.fit import fitted_spec
from moase_edge.data.labelled import PictureSet
from moase_edge.data.protocols import Stream, make_protocol, protocol_options
from moase_edge.data.selection import split
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import ConfigError
from moase_edge.export.onnx import export_onnx
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.models.build import Backbone, build_backbone
from moase_edge.models.split import FrozenBackbone, sidecar_spec, tensor_specs

LATENCY_AWARE = "latency_aware"
# These look at all tokens of a block; the others are served by those that the head reads.
_WHOLE_BLOCK = ("paper-split", "official-split")


@dataclass(frozen=True, slots=True)
class ProtocolChoice:
    """A protocol with options, as a user writes it: `clips:frames=6,order=shuffled`.

    Attributes:
        text: as written; `name` is the protocol's.
        options: of the protocol.
    """

    text: str
    name: str
    options: Mapping[str, Any]

    @property
    def stream_name(self) -> str:
        """The protocol that makes the frames: the latency-aware clock is laid over single frames."""
        return "single_frame" if self.name == LATENCY_AWARE else self.name


def parse_protocol(text: str) -> ProtocolChoice:
    """Read a protocol and its options.

    Raises:
        ConfigError: an unknown protocol or option, or a value that is no `key=value`.
    """
    name, _, rest = text.partition(":")
    known = protocol_options("single_frame" if name == LATENCY_AWARE else name)
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known or key in ("limit", "fit"):
            free = [option for option in known if option not in ("limit", "fit")]
            raise ConfigError(
                f"protocol {text!r}: {part!r} is no option of {name}; expected {', '.join(free) or 'none'}"
            )
        options[key] = _value(value)
    return ProtocolChoice(text, name, options)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Workbench:
    """Everything for one seed. The data set is split at random by seed into source images and streamed pictures.

    Raises:
        ConfigError: settings that do not fit each other or the data.
    """

    def __init__(self, settings: BenchSettings, seed: int) -> None:
        torch.set_num_threads(settings.threads)
        self.settings, self.seed = settings, seed
        self.backbone = build_backbone(settings.backbone, checkpoint=settings.checkpoint)
        self.dataset, self.source_pictures, self.pictures = open_parts(settings, self.backbone, seed)
        self.preprocessor = Preprocessor(fitted_spec(self.backbone.preprocess))
        self.engine = RecordedEngine(_split_engine(self.backbone, settings))
        self.subject = Subject(
            backbone=self.backbone,
            engine=self.engine,
            tap_tokens=_tap_spec(self.backbone, settings).tap_tokens,
            source_images=self._source_images(),
        )

    def stream(self, choice: ProtocolChoice) -> Stream:
        """The protocol's frames, fitted to the model; the same for every method."""
        domains = self.dataset.domains(self.settings.corruptions, self.settings.severity)
        return self._make(choice.stream_name, domains, choice.options)

    def clean(self) -> Stream:
        """Every streamed picture once, unshifted, for what was forgotten."""
        return self._make("continual", [self.dataset.domain(CLEAN, 1)], {})

    def _make(self, name: str, domains: Any, options: Mapping[str, Any]) -> Stream:
        fit = self.dataset.fit(self.backbone.preprocess)
        limit = self.settings.pictures
        return make_protocol(name, self.pictures, domains, seed=self.seed, limit=limit, fit=fit, **options)

    def _source_images(self) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        if not len(self.source_pictures):
            return None
        fit = self.dataset.fit(self.backbone.preprocess)
        pictures = [fit(self.source_pictures[index]) for index in range(len(self.source_pictures))]
        return self.preprocessor.batch(pictures)

    def close(self) -> None:
        """Release the engine and what it recorded."""
        self.engine.close()


def open_parts(settings: BenchSettings, backbone: Backbone, seed: int) -> tuple[DataSet, PictureSet, PictureSet]:
    """The data set, its source part and its streamed part.

    Raises:
        ConfigError: a data set that does not fit the model, or that is too small to be split.
    """
    dataset = open_dataset(settings.data)
    classes = len(dataset.images.names)
    outputs = int(backbone.model.num_classes)  # type: ignore[arg-type]
    if int(dataset.images.labels.max()) >= outputs:
        raise ConfigError(
            f"{settings.data} has {classes} classes, up to index {int(dataset.images.labels.max())}; the model "
            f"{backbone.name} answers {outputs}. Give a model that fits."
        )
    source, streamed = split(dataset.images, settings.source_images, seed)
    return dataset, source, streamed


def _tap_spec(backbone: Backbone, settings: BenchSettings) -> Any:
    whole = any(name in _WHOLE_BLOCK for name in settings.methods)
    return sidecar_spec(backbone.model, MoaseSettings(preset="paper" if whole else "edge"), 1)


def _split_engine(backbone: Backbone, settings: BenchSettings) -> OnnxRuntimeEngine:
    spec = _tap_spec(backbone, settings)
    inputs, outputs = tensor_specs(spec, backbone.preprocess.height, backbone.preprocess.width)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "backbone.onnx"
        export_onnx(FrozenBackbone(backbone.model, spec), inputs[0], outputs, path)
        return OnnxRuntimeEngine(path, threads=settings.threads)
