"""What opening any data set gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.fit import fit_to_model, fitted_spec
from moase_edge.data.labelled import Domain, PictureSet
from moase_edge.data.protocols.stream import Fit
from moase_edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DataSet:
    """Labelled pictures and the domains that they can be shown under.

    Attributes:
        name: for reports.
        images: the pictures before any shift. Parts of them (`split`, `subset`) go with the same domains.
        domain: makes a domain from a name and a severity of 1 to 5; `clean` is the pictures as they are. Raises
            ConfigError for a name that does not exist, listing those that do, and for what is not on disk.
        cropped: whether the pictures are crops already, to be fitted whole.
        left_out: how many files are not among the pictures, by reason.
        files: name of each picture's file relative to the folder, in their order; empty where they have none.
    """

    name: str
    images: PictureSet
    domain: Callable[[str, int], Domain]
    cropped: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def domains(self, names: Sequence[str], severity: int) -> list[Domain]:
        """Several domains at one severity; see `domain`."""
        return [self.domain(name, severity) for name in names]

    def fit(self, spec: PreprocessSpec) -> Fit:
        """How a picture of this set comes to the size that the model sees.

        The frames that come out are to be preprocessed by `fitted_spec(spec)`.
        """
        return partial(fit_to_model, spec=fitted_spec(spec) if self.cropped else spec)


@dataclass(frozen=True, slots=True)
class MissingPictures:
    """Stands for pictures that a data set does not have, so that its labels and domains can still be used.

    Attributes:
        message: what to say to whoever asks for one.
        count: how many there would be.
    """

    message: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        raise ConfigError(self.message)
