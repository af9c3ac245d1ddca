"""A picture at the size that the model sees, still as bytes: corruptions are defined there.

The constants of the published corruptions were made for crops of 224 (or 32) px. A blur of 5 px in a photograph
of 4000 px would be gone once the model's own preprocessing has scaled it down, so a picture is fitted first and
corrupted then, as ImageNet-C was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moase_edge.artifact.crop import centred, fill_levels, resized_size
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.errors import SourceError


def fit_to_model(image: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Resize and crop as the model's preprocessing does, without normalising.

    Preprocessing the result by `fitted_spec(spec)` gives, to the bit, what preprocessing `image` by `spec` gives.

    Args:
        image: H x W x 3, RGB, uint8, of any size; not changed.
        spec: the model's own preprocessing.

    Returns:
        A new array, height x width x 3, RGB, uint8, C-contiguous.

    Raises:
        SourceError: not a picture, or one so elongated that it cannot be resized.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise SourceError(f"got a picture of shape {image.shape}, {image.dtype}; expected H x W x 3, RGB, uint8")
    resampling = Image.Resampling[spec.interpolation.upper()]
    resized = resize(image, *resized_size(spec, *image.shape[:2]), resampling)
    rows, columns = centred(resized.shape[0], spec.height), centred(resized.shape[1], spec.width)
    fitted = np.empty((spec.height, spec.width, 3), np.uint8)
    fitted[:] = fill_levels(spec)
    fitted[rows[1], columns[1]] = resized[rows[0], columns[0]]
    return fitted


def fitted_spec(spec: PreprocessSpec) -> PreprocessSpec:
    """The preprocessing of pictures that already have the model's size: it only normalises them.

    Also the geometry for sets that are published as crops (CIFAR-10-C, ImageNet-C): they are fitted whole.
    """
    return spec.model_copy(update={"crop_pct": 1.0})


def resize(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    resampling: Image.Resampling = Image.Resampling.BICUBIC,
) -> NDArray[np.uint8]:
    """Resize by Pillow to a new array, height x width x 3, uint8."""
    return np.array(Image.fromarray(image).resize((width, height), resampling))
