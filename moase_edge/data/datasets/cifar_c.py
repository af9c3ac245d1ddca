"""CIFAR-10-C and CIFAR-100-C as published (Hendrycks and Dietterich 2019, arXiv 1903.12261)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.corruptions import CORRUPTIONS, MAX_SEVERITY
from moase_edge.data.corruptions.corruption import check_severity
from moase_edge.data.datasets.dataset import DataSet, MissingPictures
from moase_edge.data.datasets.picture_file import entries
from moase_edge.data.domains import CLEAN
from moase_edge.data.labelled import Domain, LabelledPictures, Pictures
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError, SourceError

CIFAR10_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def open_cifar_c(root: Path, *, classes: int, names: Sequence[str] | None = None) -> DataSet:
    """Open the unpacked folder; arrays stay on disk, memory-mapped, and domains are read from them.

    `root` holds `labels.npy` (5n whole numbers) and `{corruption}.npy` (5n x 32 x 32 x 3, uint8): the n test
    pictures at severity 1, then at 2, and so on; n is 10000 as published, smaller cuts work alike. The published
    sets have no clean pictures: put them beside as `clean.npy` (n x 32 x 32 x 3, uint8, in the same order) for
    source images and the `clean` domain.

    Args:
        root: the folder.
        classes: 10 or 100.
        names: the model's classes, as many; None takes CIFAR-10's own, or numbers.

    Raises:
        ConfigError: not this layout: no labels or corruptions, labels that do not fit the classes, arrays of
            another shape, dtype or length.
        SourceError: a file that is damaged or cannot be read.
    """
    if names is None:
        names = CIFAR10_NAMES if classes == len(CIFAR10_NAMES) else [str(label) for label in range(classes)]
    labels = _read_labels(root / "labels.npy", classes, names)
    arrays = {path.stem: path for path in entries(root) if path.suffix == ".npy" and path.stem != "labels"}
    corruptions = [
        *(name for name in CORRUPTIONS if name in arrays),
        *sorted(arrays.keys() - {*CORRUPTIONS, CLEAN}),
    ]
    if not corruptions:
        raise ConfigError(f"{root} holds no corruption; expected files such as gaussian_noise.npy")
    clean = arrays.get(CLEAN)
    pictures: Pictures = MissingPictures(_no_clean(root), len(labels))
    if clean is not None:
        pictures = NpyPictures(clean, 0, _check_array(clean, len(labels)))
    images = LabelledPictures(pictures, labels, tuple(names), np.arange(len(labels), dtype=np.int64))
    domain = CifarDomains(root, tuple(corruptions), len(labels), clean is not None)
    return DataSet(root.name, images, domain, cropped=True)


@dataclass(frozen=True, slots=True)
class NpyPictures:
    """Consecutive pictures of an N x H x W x 3 array on disk.

    The file is mapped anew for each picture, which takes a fraction of a millisecond: so the pictures travel to
    another process as their path, and hold neither memory nor an open file.

    Attributes:
        path: the .npy file.
        start: index of the first picture.
        count: how many.
    """

    path: Path
    start: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """H x W x 3, uint8, a new array."""
        return np.array(_mapped(self.path)[self.start + range(self.count)[index]])


def _no_clean(root: Path) -> str:
    return (
        f"{root} has no clean pictures (the published set has none); save the original test pictures in the same "
        f"order as {root / 'clean.npy'}, N x 32 x 32 x 3, uint8, or do without"
    )


@dataclass(frozen=True, slots=True)
class CifarDomains:
    """Makes the domains of an opened set: `domains(name, severity)`.

    Attributes:
        root: the set's folder.
        corruptions: those that are there.
        count: pictures of one severity.
        has_clean: whether clean.npy is there.
    """

    root: Path
    corruptions: tuple[str, ...]
    count: int
    has_clean: bool

    def __call__(self, name: str, severity: int) -> Domain:
        """See `DataSet.domain`."""
        check_severity(severity)
        if name == CLEAN and self.has_clean:
            return Domain(CLEAN)
        if name == CLEAN:
            raise ConfigError(_no_clean(self.root))
        if name not in self.corruptions:
            unknown = does_not_exist("corruption", name, self.corruptions)
            raise ConfigError(f"{unknown}, which are those in {self.root}")
        path = self.root / f"{name}.npy"
        _check_array(path, self.count * MAX_SEVERITY)
        pictures = NpyPictures(path, (severity - 1) * self.count, self.count)
        return Domain(name, pictures=pictures, severity=severity, at=partial(self, name))


def _read_labels(path: Path, classes: int, names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) labels of one severity."""
    if len(names) != classes:
        raise ConfigError(f"the model has {len(names)} classes, the data set {classes}; give a model that fits")
    if not path.is_file():
        raise ConfigError(f"{path} is not there; expected the folder of an unpacked CIFAR-{classes}-C")
    labels = _mapped(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or len(labels) % MAX_SEVERITY:
        raise ConfigError(
            f"{path} has shape {labels.shape} and dtype {labels.dtype}; expected 50000 whole numbers "
            "(5 times as many as there are pictures)"
        )
    by_severity: NDArray[np.int64] = np.array(labels, np.int64).reshape(MAX_SEVERITY, -1)
    if (by_severity != by_severity[0]).any():
        raise ConfigError(f"{path} differs between severities; expected the same labels 5 times over")
    if by_severity.min() < 0 or by_severity.max() >= classes:
        raise ConfigError(
            f"{path} has labels from {by_severity.min()} to {by_severity.max()}; expected 0 to {classes - 1}: "
            "is it the set with the other number of classes?"
        )
    first: NDArray[np.int64] = by_severity[0]
    return first


def _check_array(path: Path, count: int) -> int:
    """Refuse what is not `count` pictures; returns `count`."""
    array = _mapped(path)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8:
        raise ConfigError(
            f"{path} has shape {array.shape} and dtype {array.dtype}; expected N x 32 x 32 x 3, uint8"
        )
    if len(array) != count:
        raise ConfigError(f"{path} has {len(array)} pictures; labels.npy asks for {count}: unpack the set again")
    return count


def _mapped(path: Path) -> NDArray[Any]:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as exc:
        size = path.stat().st_size if path.exists() else 0
        raise SourceError(
            f"{path} ({size} bytes) cannot be read as an array ({exc}); it is empty, truncated or "
            "of pictures that differ in size: unpack the set again"
        ) from exc
