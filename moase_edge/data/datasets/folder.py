"""Any folder of labelled pictures: class folders, or a labels.json that maps files to classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moase_edge.data.datasets.classes import check_several_classes, classes_of_folders
from moase_edge.data.datasets.dataset import DataSet
from moase_edge.data.datasets.picture_file import (
    FilePictures,
    check_picture,
    folder_names,
    picture_names,
)
from moase_edge.data.domains import computed_domain
from moase_edge.data.labelled import LabelledPictures
from moase_edge.errors import ConfigError, SourceError

logger = logging.getLogger(__name__)

LABELS_FILE = "labels.json"
# More damaged files than this share, and what is left does not stand for the folder.
MOST_UNDECODABLE = 0.1
# Without the model's classes a label has no other bound, and each class gets a name.
_MOST_CLASSES = 100_000
_SHOWN = 3


def open_folder(root: Path, *, names: Sequence[str] | None = None) -> DataSet:
    """Open a folder of labelled pictures; domains are computed on the fly.

    `root` holds either `labels.json`, an object that maps file names (relative to `root`) to class indices, or a
    folder for each class with pictures directly in it; folders sorted by name are classes 0, 1, 2, ..., unless
    they bear the names of the model's classes. Every file is read once, to find those that cannot be decoded; then
    pictures are decoded as they are asked for.

    Args:
        root: the folder.
        names: the model's classes; None takes the folders' names, or the numbers that labels.json has.

    Returns:
        A data set whose `left_out` counts files that cannot be decoded (logged one by one) and pictures that
        labels.json does not mention.

    Raises:
        ConfigError: no pictures, labels or folders that do not fit the classes, pictures of one class only, or a
            labels.json that is damaged or names files that are not there.
        SourceError: the folder cannot be read, or more than a tenth of the files cannot be decoded.
    """
    listing = _by_file(root, names) if (root / LABELS_FILE).exists() else _by_folder(root, names)
    if not listing.labels:
        raise ConfigError(
            f"{root} holds no labelled picture; expected class folders, or pictures and a {LABELS_FILE}"
        )
    labels = _decodable(root, listing.labels)
    check_several_classes(root, list(labels.values()))
    images = LabelledPictures(
        FilePictures(root, tuple(labels)),
        np.array(list(labels.values()), np.int64),
        listing.names,
        np.arange(len(labels), dtype=np.int64),
    )
    left_out = {"undecodable": len(listing.labels) - len(labels), "unlabelled": listing.unlabelled}
    return DataSet(root.name, images, computed_domain, left_out=left_out, files=tuple(labels))


@dataclass(frozen=True, slots=True)
class _Listing:
    """Files with their class, the classes' names, and how many pictures have no label."""

    labels: dict[str, int]
    names: tuple[str, ...]
    unlabelled: int = 0


def _by_folder(root: Path, names: Sequence[str] | None) -> _Listing:
    folders = folder_names(root)
    if not folders and not picture_names(root):
        raise ConfigError(
            f"{root} holds no labelled picture; expected class folders, or pictures and a {LABELS_FILE}"
        )
    classes, class_names = classes_of_folders(root, folders, names)
    files = {folder: picture_names(root / folder) for folder in folders}
    empty = [folder for folder in folders if not files[folder]]
    if empty and len(empty) < len(folders):
        raise ConfigError(
            f"{len(empty)} of {len(folders)} class folders of {root} hold no picture ({_some(empty)}); "
            "every folder is taken for a class: put pictures in or take it away"
        )
    labels = {
        f"{folder}/{file}": label for folder, label in zip(folders, classes, strict=True) for file in files[folder]
    }
    return _Listing(labels, class_names)


def _by_file(root: Path, names: Sequence[str] | None) -> _Listing:
    path = root / LABELS_FILE
    labels = _read_labels(path)
    most = len(names) if names is not None else _MOST_CLASSES
    for file, label in labels.items():
        if not 0 <= label < most:
            raise ConfigError(
                f"{path} gives {file!r} the class {label}; expected 0 to {most - 1}"
                + (f", an index into the model's {most} classes" if names is not None else "")
            )
    missing = [file for file in labels if not (root / file).is_file()]
    if missing:
        raise ConfigError(
            f"{path} names {len(missing)} of {len(labels)} files that are not there ({_some(missing)}); "
            f"names are relative to {root}: correct them or take them out"
        )
    unlabelled = len(set(picture_names(root)) - set(labels))
    if unlabelled:
        logger.warning("%d pictures of %s are not in %s and are left out", unlabelled, root, LABELS_FILE)
    if names is None:
        names = [str(label) for label in range(max(labels.values(), default=-1) + 1)]
    return _Listing(dict(sorted(labels.items())), tuple(names), unlabelled)


def _read_labels(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} cannot be read as JSON ({exc}); {_EXPECTED}") from exc
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a JSON {type(content).__name__}; {_EXPECTED}")
    for file, label in content.items():
        if not isinstance(label, int) or isinstance(label, bool):
            raise ConfigError(f"{path} gives {file!r} the class {label!r}; {_EXPECTED}")
    return content


_EXPECTED = 'expected an object that maps file names to class indices, such as {"cat-1.jpg": 281}'


def _decodable(root: Path, labels: Mapping[str, int]) -> dict[str, int]:
    """`labels` without the files that cannot be decoded.

    Raises:
        SourceError: too many of them.
    """
    damaged = {}
    for file in labels:
        try:
            check_picture(root / file)
        except SourceError as exc:
            damaged[file] = str(exc)
            logger.warning("left out: %s", exc)
    if len(damaged) > MOST_UNDECODABLE * len(labels):
        raise SourceError(
            f"{len(damaged)} of {len(labels)} files of {root} cannot be decoded, more than a tenth; the first: "
            f"{next(iter(damaged.values()))}"
        )
    return {file: label for file, label in labels.items() if file not in damaged}


def _some(files: Sequence[str]) -> str:
    shown = ", ".join(repr(file) for file in files[:_SHOWN])
    return f"{shown}, ..." if len(files) > _SHOWN else shown
