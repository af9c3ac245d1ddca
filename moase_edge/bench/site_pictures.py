"""A few labelled pictures of one's own camera, in the order in which it gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from moase_edge.artifact.store import Artifact
from moase_edge.data.datasets import open_folder
from moase_edge.data.datasets.folder import LABELS_FILE
from moase_edge.data.fit import fitted_spec
from moase_edge.data.labelled import LabelledImage
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.frames.preprocess import Preprocessor

MIN_PICTURES = 10
"""With fewer, two thirds of them would have to turn right before that could be told from chance."""

_DOMAIN = "site"


@dataclass(frozen=True, slots=True)
class Site:
    """What a folder of labelled pictures holds, fitted to a model.

    Attributes:
        frames: in the camera's order, at the model's size; `picture` is the place in this order.
        preprocessor: of such frames; both steps give what the model's own preprocessing gives, to the bit.
        files: names relative to the folder, in the same order.
        names: of the model's classes.
        left_out: files that are not among the frames, by reason.
        by_position: whether class folders stand for the classes in sorted order, because they bear other names.
    """

    frames: list[LabelledImage]
    preprocessor: Preprocessor
    files: tuple[str, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, int]
    by_position: bool


def open_site(folder: Path, artifact: Artifact) -> Site:
    """Read the pictures of a folder, laid out as `open_folder` takes it, for an artifact's model.

    All are held in memory at the model's size: 0.15 MB each at 224 px.

    Where the artifact names no classes, they are called "0", "1", ...: folders of such names say which classes
    they are, and folders of other names are only taken where there is one for each class.

    Raises:
        ArtifactError: the model has no head, so that it answers no classes.
        ConfigError: no pictures, fewer than MIN_PICTURES, of one class only, or labels that do not fit the model.
        SourceError: the folder cannot be read, or more than a tenth of its files cannot be decoded.
    """
    names, preprocess = _class_names(artifact), artifact.manifest.preprocess
    folder = folder.expanduser()
    dataset = open_folder(folder, names=names)
    if len(dataset.files) < MIN_PICTURES:
        raise ConfigError(
            f"{folder} holds {len(dataset.files)} labelled pictures; expected at least {MIN_PICTURES}, "
            "or nothing could be told from chance: label some more, 50 or more if you can"
        )
    fit = dataset.fit(preprocess)
    listed = (folder / LABELS_FILE).exists()
    order = camera_order(dataset.files, by_path=listed)
    frames = [
        LabelledImage(fit(dataset.images[index]), int(dataset.images.labels[index]), _DOMAIN, place, float(place))
        for place, index in enumerate(order)
    ]
    return Site(
        frames=frames,
        preprocessor=Preprocessor(fitted_spec(preprocess)),
        files=tuple(dataset.files[index] for index in order),
        names=names,
        left_out=dataset.left_out,
        by_position=not listed and any(PurePath(file).parts[0] not in names for file in dataset.files),
    )


def _class_names(artifact: Artifact) -> tuple[str, ...]:
    """Of the artifact's model."""
    classes = artifact.manifest.sidecar.classes
    if not classes:
        raise ArtifactError(
            f"{artifact.folder} answers features, not classes: its model has no head, so labels cannot be "
            "compared with its answers. Export a model that has one."
        )
    return artifact.manifest.labels or tuple(str(label) for label in range(classes))


def camera_order(files: Sequence[str], *, by_path: bool) -> list[int]:
    """Places of the pictures in the order in which a camera gave them, as far as their names tell.

    A camera numbers its files or names them by time, so names in sorted order are its order (`10.jpg` before
    `9.jpg`, as `run` reads a folder). Files in class folders were sorted by hand: there the file's own name
    counts, across all folders, and the folder only where names are the same.

    Args:
        files: names relative to the folder.
        by_path: the folders are the camera's own, such as one a day: they count first.
    """
    if by_path:
        return sorted(range(len(files)), key=lambda index: files[index])
    return sorted(range(len(files)), key=lambda index: (PurePath(files[index]).name, files[index]))
