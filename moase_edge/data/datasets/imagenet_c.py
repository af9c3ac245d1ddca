"""ImageNet-C as published (Hendrycks and Dietterich 2019, arXiv 1903.12261): corruption/severity/class/file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.corruptions import CORRUPTIONS, MAX_SEVERITY
from moase_edge.data.corruptions.corruption import check_severity
from moase_edge.data.datasets.classes import check_several_classes, classes_of_folders
from moase_edge.data.datasets.dataset import DataSet, MissingPictures
from moase_edge.data.datasets.picture_file import FilePictures, folder_names, picture_names
from moase_edge.data.domains import CLEAN
from moase_edge.data.fit import fit_to_model
from moase_edge.data.labelled import Domain, LabelledPictures, Pictures
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError

# How the published pictures were cut from ImageNet's before they were corrupted: shorter side to 256, centre 224.
PUBLISHED_CROP = PreprocessSpec(
    height=224, width=224, crop_pct=0.875, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
)


def open_imagenet_c(root: Path, *, names: Sequence[str] | None = None) -> DataSet:
    """Open the unpacked folder; pictures are decoded as they are asked for, and domains are read from disk.

    `root` holds `{corruption}/{1..5}/{class folder}/{file}`, the same files everywhere, crops of 224 x 224 px. Not
    all corruptions and severities must be there. The published set has no clean pictures: put ImageNet's own
    beside as `clean/{class folder}/{file}`, under the same names, for source images and the `clean` domain; they
    are cut as the published ones were. Whether each file can be decoded is found when it is read.

    Args:
        root: the folder.
        names: the model's classes; class folders that do not bear these names are classes 0, 1, 2, ... in sorted
            order. None takes the folders' names.

    Raises:
        ConfigError: not this layout, class folders that do not fit the classes, or, when a domain is made, files
            that are not the same as elsewhere.
        SourceError: a folder that cannot be read.
    """
    corruptions = _corruptions(root)
    first = root / corruptions[0]
    reference = first / _severities(first)[0]
    folders = folder_names(reference)
    classes, class_names = classes_of_folders(reference, folders, names)
    files = _files(reference)
    places = dict(zip(folders, classes, strict=True))
    labels = [places[file.partition("/")[0]] for file in files]
    check_several_classes(reference, labels)
    pictures: Pictures = MissingPictures(_no_clean(root), len(files))
    if (root / CLEAN).is_dir():
        _check_files(root / CLEAN, files, reference)
        pictures = FilePictures(root / CLEAN, files, _published_crop)
    ids = np.arange(len(files), dtype=np.int64)
    images = LabelledPictures(pictures, np.array(labels, np.int64), class_names, ids)
    domain = ImageNetDomains(root, corruptions, reference, files)
    return DataSet(root.name, images, domain, cropped=True)


def _no_clean(root: Path) -> str:
    return (
        f"{root} has no clean pictures (the published set has none); put ImageNet's own under the same names in "
        f"{root / CLEAN}, or do without"
    )


@dataclass(frozen=True, slots=True)
class ImageNetDomains:
    """Makes the domains of an opened set: `domains(name, severity)`.

    Attributes:
        root: the set's folder.
        corruptions: those that are there.
        reference: the folder that `files` were listed in.
        files: what every severity has to hold, as class/file.
    """

    root: Path
    corruptions: tuple[str, ...]
    reference: Path
    files: tuple[str, ...]

    def __call__(self, name: str, severity: int) -> Domain:
        """See `DataSet.domain`."""
        check_severity(severity)
        if name == CLEAN and (self.root / CLEAN).is_dir():
            return Domain(CLEAN)
        if name == CLEAN:
            raise ConfigError(_no_clean(self.root))
        if name not in self.corruptions:
            unknown = does_not_exist("corruption", name, self.corruptions)
            raise ConfigError(f"{unknown}, which are those in {self.root}")
        folder = self.root / name / str(severity)
        if not folder.is_dir():
            found = ", ".join(_severities(folder.parent))
            raise ConfigError(f"{folder.parent} has no severity {severity}; there are {found}: unpack the others")
        _check_files(folder, self.files, self.reference)
        pictures = FilePictures(folder, self.files)
        return Domain(name, pictures=pictures, severity=severity, at=partial(self, name))


def _corruptions(root: Path) -> tuple[str, ...]:
    """Folders that hold severities: those of the published order first."""
    found = {name for name in folder_names(root) if name != CLEAN and _severities(root / name)}
    if not found:
        raise ConfigError(
            f"{root} holds no corruption; expected folders such as gaussian_noise/5/n01440764 with pictures"
        )
    return (*(name for name in CORRUPTIONS if name in found), *sorted(found - set(CORRUPTIONS)))


def _severities(corruption: Path) -> list[str]:
    expected = {str(severity) for severity in range(1, MAX_SEVERITY + 1)}
    return [name for name in folder_names(corruption) if name in expected]


def _files(folder: Path) -> tuple[str, ...]:
    """`class/file` of every picture, sorted by class, then by file."""
    return tuple(f"{name}/{file}" for name in folder_names(folder) for file in picture_names(folder / name))


def _check_files(folder: Path, files: tuple[str, ...], reference: Path) -> None:
    """Refuse a folder that does not hold the same files as the reference."""
    found = _files(folder)
    if found == files:
        return
    missing, more = sorted(set(files) - set(found)), sorted(set(found) - set(files))
    raise ConfigError(
        f"{folder} lacks {len(missing)} files of {reference} and has {len(more)} others (first: "
        f"{(missing + more)[0]}); expected the same files everywhere: unpack the set again"
    )


def _published_crop(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut as the published pictures were; what has their size was cut already."""
    done = picture.shape[:2] == (PUBLISHED_CROP.height, PUBLISHED_CROP.width)
    return picture if done else fit_to_model(picture, PUBLISHED_CROP)
