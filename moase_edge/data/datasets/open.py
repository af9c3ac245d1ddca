"""Data sets by name or path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from moase_edge.data.datasets.cifar_c import open_cifar_c
from moase_edge.data.datasets.dataset import DataSet
from moase_edge.data.datasets.folder import open_folder
from moase_edge.data.datasets.imagenet_c import open_imagenet_c
from moase_edge.data.digits import load_digits_split
from moase_edge.data.domains import computed_domain
from moase_edge.errors import ConfigError

DIGITS = "digits"

LAYOUTS: dict[str, Callable[..., DataSet]] = {
    "cifar10c": partial(open_cifar_c, classes=10),
    "cifar100c": partial(open_cifar_c, classes=100),
    "imagenetc": open_imagenet_c,
}
"""Published layouts by name: `layout(root, names=...)`."""


def open_dataset(place: str, *, names: Sequence[str] | None = None) -> DataSet:
    """Open a data set.

    Args:
        place: `digits`, a folder of labelled pictures (see `open_folder`), or `LAYOUT:FOLDER` with a key of
            LAYOUTS.
        names: the model's classes; None takes what the set says.

    Raises:
        ConfigError: nothing there, or a set that does not fit the layout or the classes.
        SourceError: files that cannot be read.
    """
    if place == DIGITS:
        return open_digits(names=names)
    layout, _, path = place.partition(":")
    if layout in LAYOUTS and path:
        return LAYOUTS[layout](_folder(path, place), names=names)
    return open_folder(_folder(place, place), names=names)


def open_digits(*, names: Sequence[str] | None = None) -> DataSet:
    """The test half of the digits, 32 x 32 px.

    Corruptions take ImageNet-C's constants: those of CIFAR-10-C hardly disturb white digits on black.

    Raises:
        ConfigError: a model of other than 10 classes, or scikit-learn is not installed.
    """
    images = load_digits_split("test")
    if names is not None and len(names) != len(images.names):
        raise ConfigError(f"the model has {len(names)} classes, the digits 10; give a model that fits")
    return DataSet(DIGITS, images, partial(computed_domain, constants="imagenet"))


def _folder(path: str, place: str) -> Path:
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        layouts = ", ".join(f"{layout}:FOLDER" for layout in LAYOUTS)
        raise ConfigError(
            f"{place!r} is no data set: there is no folder {path!r}; expected {DIGITS}, FOLDER, {layouts}"
        )
    return folder
