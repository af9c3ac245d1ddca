"""The frames that engines are compared on, and that int8 takes its ranges from."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.calib.source_data import plain_name
from moase_edge.errors import CalibrationError
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Preprocessed frames.

    Attributes:
        frames: (1, 3, H, W) float32 each, one at least.
        of: where they are from, for people: "photos".
    """

    frames: tuple[NDArray[np.float32], ...]
    of: str

    @property
    def title(self) -> str:
        """How many of what."""
        return f"{len(self.frames)} frames of {self.of}"

    def spread(self, count: int) -> Pictures:
        """No more than `count` of them, spread evenly over all."""
        return Pictures(self.frames[:: -(-len(self.frames) // count)], self.of)


def pictures_at(uri: str, preprocess: PreprocessSpec, count: int) -> Pictures:
    """Up to `count` frames of a source that ends, spread over it where its length is known.

    Raises:
        ConfigError, SourceError: nothing that can be opened or read.
        CalibrationError: it holds no picture.
    """
    preprocessor = Preprocessor(preprocess)
    with closing(open_source(uri)) as source:
        step = max(1, -(-(source.length or 0) // count))
        frames = islice(islice(source.frames(), 0, None, step), count)
        pictures = tuple(preprocessor.batch([frame.image]) for frame in frames)
        if not pictures:
            raise CalibrationError(f"{source.name} holds no picture that can be decoded. Name another folder.")
        return Pictures(pictures, plain_name(source.name))


def seeded_pictures(preprocess: PreprocessSpec, count: int, *, seed: int) -> Pictures:
    """Frames of noise, where there are no pictures."""
    generator = torch.Generator().manual_seed(seed)
    size = (1, 3, preprocess.height, preprocess.width)
    return Pictures(tuple(torch.randn(size, generator=generator).numpy() for _ in range(count)), "seeded noise")
