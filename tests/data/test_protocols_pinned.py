"""Streams that figures were published on, to the bit: who changes one makes those figures impossible to repeat."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.data.labelled import Domain, LabelledImages
from moase_edge.data.protocols import PROTOCOLS, make_protocol

# No corruption and no resize stands behind these, whose last bit might differ from machine to machine.
DIGESTS = {
    "continual": "fdca56cca6fb1269",
    "gradual": "044171fc0404e0bb",
    "mixed": "199933ba75f774f6",
    "class_sorted": "e54048b6ea155fc7",
    "dirichlet": "e2a8a9c6a35c8227",
    "cyclic": "4c41cf5a54cceaac",
    "single_frame": "fdca56cca6fb1269",
    "clips": "c6f7114e22e33a29",
    "pan": "d90ac39d42ca19fe",
    "jumps": "5308d4d25ba93774",
}


def add_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    noisy: NDArray[np.uint8] = image + rng.integers(0, 256, image.shape, dtype=np.uint8)
    return noisy


def noise(severity: int) -> Domain:
    return Domain("noise", add_noise, severity=severity, at=noise)


def upper_left(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A fit without a resize, which tells views of different place and size apart all the same."""
    return image[:16, :16]


def digest(name: str) -> str:
    values = np.arange(20 * 24 * 30 * 3) * 7919 % 256
    images = values.reshape(20, 24, 30, 3).astype(np.uint8)
    pictures = LabelledImages(images, np.arange(20, dtype=np.int64) % 4, ("a", "b", "c", "d"))
    domains = [Domain("other", severity=2, at=lambda severity: Domain("other", severity=severity)), noise(5)]
    stream = make_protocol(name, pictures, [*domains, noise(5)], seed=3, limit=7, fit=upper_left)
    found = hashlib.sha256()
    for frame in stream:
        told = (frame.label, frame.domain, frame.picture, frame.time, frame.severity, frame.round)
        found.update(repr(told).encode() + frame.image.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_stream_is_what_it_was_to_the_bit(name: str) -> None:
    assert digest(name) == DIGESTS[name]
