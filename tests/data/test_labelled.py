"""Labelled pictures and the stream of domains."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.data.labelled import (
    Domain,
    DomainStream,
    LabelledImages,
    LabelledPictures,
    PictureSet,
    deal,
    unchanged,
)
from moase_edge.errors import ConfigError


def pictures(count: int = 6) -> LabelledImages:
    """Picture i is filled with the value i and has the label i % 3."""
    values = np.arange(count, dtype=np.uint8)
    return LabelledImages(
        images=np.tile(values[:, None, None, None], (1, 4, 4, 3)),
        labels=np.arange(count, dtype=np.int64) % 3,
        names=("a", "b", "c"),
    )


def replace_by_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


def blacken_in_place(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    image[:] = 0
    return image


CLEAN = Domain("clean", unchanged)
NOISE = Domain("noise", replace_by_noise)


def shown(stream: DomainStream) -> list[int]:
    """Which picture each frame of an unchanged stream shows."""
    return [int(frame.image[0, 0, 0]) for frame in stream]


def test_domains_come_in_turn_and_labels_follow_their_pictures() -> None:
    frames = list(DomainStream(pictures(), [CLEAN, Domain("again", unchanged)], 4, seed=0))
    assert [frame.domain for frame in frames] == ["clean"] * 4 + ["again"] * 4
    assert all(frame.label == frame.image[0, 0, 0] % 3 for frame in frames)


@given(st.integers(1, 7), st.integers(1, 30), st.integers(0, 2**32))
def test_no_picture_comes_again_before_all_were_shown(count: int, frames: int, seed: int) -> None:
    stream = DomainStream(pictures(count), [CLEAN], frames, seed)
    order = shown(stream)
    assert len(order) == len(stream) == frames
    for start in range(0, frames, count):
        part = Counter(order[start : start + count])
        assert max(part.values()) == 1


def test_any_frame_can_be_made_alone() -> None:
    stream = DomainStream(pictures(), [CLEAN, NOISE, NOISE], 8, seed=3)
    in_order = list(stream)
    for index in (23, 0, 11, 8, 11):
        alone = DomainStream(pictures(), [CLEAN, NOISE, NOISE], 8, seed=3)[index]
        assert np.array_equal(alone.image, in_order[index].image)
        assert (alone.label, alone.domain) == (in_order[index].label, in_order[index].domain)


def test_chance_differs_between_frames_domains_and_showings() -> None:
    # Two pictures, two domains, each picture shown twice in each: eight frames of pure chance.
    stream = DomainStream(pictures(2), [NOISE, NOISE], 4, seed=0)
    for one, other in itertools.combinations(stream, 2):
        assert not np.array_equal(one.image, other.image)


def test_chance_of_a_picture_does_not_depend_on_the_streams_length() -> None:
    images = pictures()
    noise_by_label = [
        {frame.image.tobytes() for frame in DomainStream(images, [NOISE], length, seed=5)} for length in (6, 12)
    ]
    assert noise_by_label[0] < noise_by_label[1]


def test_domain_that_returns_shows_another_selection() -> None:
    order = shown(DomainStream(pictures(50), [CLEAN, CLEAN], 50, seed=0))
    assert sorted(order[:50]) == sorted(order[50:])
    assert order[:50] != order[50:]


def test_seeds_give_different_streams() -> None:
    streams = [shown(DomainStream(pictures(50), [CLEAN], 50, seed=seed)) for seed in (0, 1)]
    assert streams[0] != streams[1]


def test_shift_in_place_leaves_the_pictures_alone() -> None:
    images = pictures()
    frames = list(DomainStream(images, [Domain("black", blacken_in_place)], 6, seed=0))
    assert not any(frame.image.any() for frame in frames)
    assert np.array_equal(images.images, pictures().images)


def test_frame_owns_its_memory_and_is_contiguous() -> None:
    images = pictures()
    turned = Domain("turned", lambda image, rng: image[:, ::-1])
    frame = DomainStream(images, [turned], 1, seed=0)[0]
    assert frame.image.flags.c_contiguous
    assert not np.shares_memory(frame.image, images.images)
    assert not np.shares_memory(DomainStream(images, [CLEAN], 1, seed=0)[0].image, images.images)


def test_index_outside_the_stream_is_an_index_error() -> None:
    stream = DomainStream(pictures(), [CLEAN], 3, seed=0)
    with pytest.raises(IndexError):
        stream[3]
    assert np.array_equal(stream[-1].image, stream[2].image)


def test_shift_that_makes_no_picture_is_named() -> None:
    to_float = Domain("floating", lambda image, rng: image / 255)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"'floating'.*float64"):
        DomainStream(pictures(), [to_float], 1, seed=0)[0]


@pytest.mark.parametrize(
    ("images", "domains", "frames", "seed"),
    [
        (pictures(), [], 1, 0),
        (pictures(0), [CLEAN], 1, 0),
        (pictures(), [CLEAN], 0, 0),
        (pictures(), [CLEAN], 1, -1),
    ],
)
def test_stream_that_cannot_be_made_is_refused_at_once(
    images: LabelledImages, domains: list[Domain], frames: int, seed: int
) -> None:
    with pytest.raises(ConfigError, match="at least"):
        DomainStream(images, domains, frames, seed)


def test_frames_say_their_picture_time_and_severity() -> None:
    stream = DomainStream(pictures(), [CLEAN, Domain("level", unchanged, severity=2)], 4, seed=0)
    for index, frame in enumerate(stream):
        assert frame.time == index
        assert frame.picture == frame.image[0, 0, 0]
        assert frame.severity == (None if index < 4 else 2)


def test_stream_shows_pictures_of_a_domain_that_is_read() -> None:
    stored = Domain("stored", pictures=pictures().images + np.uint8(50))
    for frame in DomainStream(pictures(), [stored], 6, seed=0):
        assert frame.image[0, 0, 0] == frame.picture + 50
        assert frame.label == frame.picture % 3


@pytest.mark.parametrize("made", [LabelledImages, LabelledPictures])
def test_sets_hand_out_pictures_of_any_size_with_label_name_and_id(made: type) -> None:
    images, labels, names = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), np.array([1, 0]), ("a", "b")
    held: PictureSet = (
        LabelledImages(images, labels, names)
        if made is LabelledImages
        else LabelledPictures([images[0], images[1, :1]], labels, names, np.array([5, 3]))
    )
    assert len(held) == 2
    assert held.labels.tolist() == [1, 0]
    assert held.ids.tolist() == ([0, 1] if made is LabelledImages else [5, 3])
    assert held.names == ("a", "b")
    assert held[0].tolist() == images[0].tolist()
    assert held[1].shape == ((2, 2, 3) if made is LabelledImages else (1, 2, 3))


@pytest.mark.parametrize(
    ("labels", "ids", "message"),
    [
        (np.zeros(3, np.int64), np.arange(2), "2 pictures"),
        (np.array([0, 2]), np.arange(2), "0 to 2"),
        (np.zeros(2, np.int64), np.arange(3), r"ids have shape \(3,\)"),
        (np.zeros(2, np.int64), np.arange(2.0), "ids.*float64"),
    ],
)
def test_labels_and_ids_that_do_not_fit_lazy_pictures_are_refused(
    labels: NDArray[np.int64], ids: NDArray[np.int64], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LabelledPictures(pictures(2), labels, ("a", "b"), ids)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32))
def test_dealt_pictures_come_again_only_after_all_came(count: int, frames: int, seed: int) -> None:
    dealt = deal(np.random.default_rng(seed), count, frames)
    assert len(dealt) == frames
    for start in range(0, frames, count):
        part = dealt[start : start + count]
        assert len(set(part.tolist())) == len(part)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), "N x H x W x 3"),
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2, np.int64), "float32"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3, np.int64), "2 pictures"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 2], np.int64), "0 to 2"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, -1], np.int64), "-1"),
    ],
)
def test_pictures_and_labels_that_do_not_fit_are_refused(
    images: NDArray[np.uint8], labels: NDArray[np.int64], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LabelledImages(images, labels, ("a", "b"))
