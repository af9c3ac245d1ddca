"""Data sets: the digits, folders of labelled pictures, and the published corrupted sets."""

from __future__ import annotations

from moase_edge.data.datasets.cifar_c import open_cifar_c
from moase_edge.data.datasets.dataset import DataSet
from moase_edge.data.datasets.folder import open_folder
from moase_edge.data.datasets.imagenet_c import open_imagenet_c
from moase_edge.data.datasets.open import LAYOUTS, open_dataset, open_digits

__all__ = [
    "LAYOUTS",
    "DataSet",
    "open_cifar_c",
    "open_dataset",
    "open_digits",
    "open_folder",
    "open_imagenet_c",
]
