"""What a benchmark works with: the source model whole and split, pictures, source images, streams."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.bench.protocol_choice import ProtocolChoice, parse_protocol
from moase_edge.bench.recorded_engine import RecordedEngine
from moase_edge.bench.subject import Subject
from moase_edge.config.bench import BenchSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.data.datasets import DataSet, open_dataset
from moase_edge.data.domains import CLEAN
from moase_edge.data.fit import fitted_spec
from moase_edge.data.labelled import LabelledImage, PictureSet
from moase_edge.data.protocols import Stream, make_protocol
from moase_edge.data.selection import split
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.export.onnx import export_onnx
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.models.build import Backbone, build_backbone
from moase_edge.models.labels import read_labels
from moase_edge.models.split import FrozenBackbone, sidecar_spec, tensor_specs

# These look at all tokens of a block; the others are served by those that the head reads.
_WHOLE_BLOCK = ("paper-split", "official-split")


@dataclass(frozen=True, slots=True)
class Part:
    """What belongs to one seed: the data set, split at random.

    Attributes:
        seed: of the split, and of all streams over it.
        pictures: those that are streamed.
        subject: with the other part as its source images.
        clean: every streamed picture once, unshifted and fitted to the model, for what was forgotten.
    """

    seed: int
    pictures: PictureSet
    subject: Subject
    clean: list[LabelledImage]


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one protocol and seed, fitted to the model; the same for every method.

    Attributes:
        protocol: as written.
        part: the seed's.
        shown: in order.
        batch_size: how many are answered together.
    """

    protocol: ProtocolChoice
    part: Part
    shown: list[LabelledImage]
    batch_size: int


class Workbench:
    """Model, engine and data of a benchmark. The last seed's part and the last protocol's frames are kept.

    Raises:
        ConfigError: settings that do not fit each other or the data.
    """

    def __init__(self, settings: BenchSettings) -> None:
        torch.set_num_threads(settings.threads)
        self.settings = settings
        self.backbone, self.dataset = open_subject_and_data(settings)
        self._refuse_what_cannot_be_streamed()
        self.preprocessor = Preprocessor(fitted_spec(self.backbone.preprocess))
        self.engine = RecordedEngine(_split_engine(self.backbone, settings))
        self._part: Part | None = None
        self._frames: Frames | None = None

    def part(self, seed: int) -> Part:
        """Pictures and source images of a seed."""
        if self._part is None or self._part.seed != seed:
            source, streamed = split(self.dataset.images, self.settings.source_images, seed)
            subject = Subject(
                backbone=self.backbone,
                engine=self.engine,
                moase=self.settings.moase,
                adapt=self.settings.adapt,
                adapt_blocks=self.settings.adapt_blocks,
                tap_tokens=_tap_spec(self.backbone, self.settings).tap_tokens,
                source_images=self._preprocessed(source),
            )
            clean = self._stream("continual", streamed, (CLEAN,), seed, {})
            self._part = Part(seed, streamed, subject, list(clean))
        return self._part

    def frames(self, protocol: str, seed: int) -> Frames:
        """The frames of a protocol and seed; the engine forgets those that came before."""
        if self._frames is None or (self._frames.protocol.text, self._frames.part.seed) != (protocol, seed):
            # Released first: two streams at a time would cost twice the memory.
            self._frames = None
            self.engine.forget()
            choice, part = parse_protocol(protocol), self.part(seed)
            domains = self.settings.corruptions
            stream = self._stream(choice.stream, part.pictures, domains, seed, choice.options)
            one_by_one = 1 if choice.latency_aware else stream.batch_size
            self._frames = Frames(choice, part, list(stream), one_by_one or self.settings.batch_size)
        return self._frames

    def facts(self) -> dict[str, Any]:
        """Model, normalisation and subset, as plain data."""
        backbone, settings = self.backbone, self.settings
        pictures, kept = len(self.dataset.images), settings.source_images
        return {
            "backbone": backbone.name,
            "architecture": backbone.architecture,
            "weights": backbone.weights,
            "checkpoint_sha256": backbone.checkpoint_sha256,
            "classes": int(backbone.model.num_classes),  # type: ignore[arg-type]
            "preprocess": backbone.preprocess.model_dump(mode="json"),
            "data": self.dataset.name,
            "pictures": pictures,
            "source_images": kept,
            "streamed": min(pictures - kept, settings.pictures or pictures),
            "left_out": dict(self.dataset.left_out),
        }

    def close(self) -> None:
        """Release the engine and what it recorded."""
        self.engine.close()

    def _refuse_what_cannot_be_streamed(self) -> None:
        """Lay out every stream, of which no frame is made yet, so that a fault in the last one is found first."""
        settings = self.settings
        for seed in settings.seeds:
            _, streamed = split(self.dataset.images, settings.source_images, seed)
            self._stream("continual", streamed, (CLEAN,), seed, {})
            for choice in map(parse_protocol, settings.protocols):
                self._stream(choice.stream, streamed, settings.corruptions, seed, choice.options)

    def _stream(
        self, name: str, pictures: PictureSet, domains: Sequence[str], seed: int, options: Mapping[str, Any]
    ) -> Stream:
        shown = self.dataset.domains(domains, self.settings.severity)
        fit = self.dataset.fit(self.backbone.preprocess)
        return make_protocol(name, pictures, shown, seed=seed, limit=self.settings.pictures, fit=fit, **options)

    def _preprocessed(self, pictures: PictureSet) -> NDArray[np.float32] | None:
        if not len(pictures):
            return None
        fit = self.dataset.fit(self.backbone.preprocess)
        return self.preprocessor.batch([fit(pictures[index]) for index in range(len(pictures))])


def open_subject_and_data(settings: BenchSettings) -> tuple[Backbone, DataSet]:
    """The source model, and the data set with the model's classes.

    Raises:
        ConfigError: a data set that does not fit the model.
        CheckpointError: weights that cannot be read or fetched.
    """
    backbone = build_backbone(settings.backbone, checkpoint=settings.checkpoint)
    classes = int(backbone.model.num_classes)  # type: ignore[arg-type]
    names = backbone.labels
    if settings.labels is not None:
        names = read_labels(settings.labels, classes)
    # Without names a class is known by its index: by position, folders of a few classes would be mislabelled.
    return backbone, open_dataset(settings.data, names=names or tuple(map(str, range(classes))))


def _tap_spec(backbone: Backbone, settings: BenchSettings) -> Any:
    whole = any(name in _WHOLE_BLOCK for name in settings.methods)
    moase = MoaseSettings(preset="paper") if whole else settings.moase
    return sidecar_spec(backbone.model, moase, settings.adapt_blocks)


def _split_engine(backbone: Backbone, settings: BenchSettings) -> OnnxRuntimeEngine:
    spec = _tap_spec(backbone, settings)
    inputs, outputs = tensor_specs(spec, backbone.preprocess.height, backbone.preprocess.width)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "backbone.onnx"
        export_onnx(FrozenBackbone(backbone.model, spec), inputs[0], outputs, path)
        return OnnxRuntimeEngine(path, threads=settings.threads)
