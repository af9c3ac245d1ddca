"""Pan: the view slides from picture to picture, and never cuts."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.domains import computed_domain
from moase_edge.data.fit import fit_to_model
from moase_edge.data.labelled import Domain, LabelledImages, LabelledPictures
from moase_edge.data.protocols import Stream
from moase_edge.data.protocols.by_domain import continual
from moase_edge.data.protocols.pan import SideBySide, pan
from moase_edge.errors import ConfigError

CLEAN, AGAIN = Domain("clean"), Domain("again")
BLACK, WHITE = 0, 255


def filled(*values: int, width: int = 4) -> LabelledImages:
    """Picture i is filled with values[i] and has the label i; 4 px high."""
    images = np.tile(np.array(values, np.uint8)[:, None, None, None], (1, 4, width, 3))
    return LabelledImages(images, np.arange(len(values), dtype=np.int64), tuple(map(str, range(len(values)))))


def random_pictures(count: int, width: int) -> LabelledImages:
    """Pictures of which no two columns are alike; 8 px high."""
    images = np.random.default_rng(count).integers(0, 256, (count, 8, width, 3), dtype=np.uint8)
    return LabelledImages(images, np.arange(count, dtype=np.int64), tuple(map(str, range(count))))


def rows(stream: Stream) -> list[list[int]]:
    """The first row of each frame."""
    return [frame.image[0, :, 0].tolist() for frame in stream]


def black_first(stream: Stream) -> Stream:
    assert stream.pictures[0] == 0, "choose a seed that begins at the black picture"
    return stream


def replace_by_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


def test_view_slides_from_black_to_white_and_back() -> None:
    stream = black_first(pan(filled(BLACK, WHITE), [CLEAN], seed=1, frames=4))
    assert rows(stream) == [
        [0, 0, 0, 0],
        [0, 0, 0, 255],
        [0, 0, 255, 255],  # half and half: the label is that of the one it moves to
        [0, 255, 255, 255],
        [255, 255, 255, 255],
        [255, 255, 255, 0],
        [255, 255, 0, 0],
        [255, 0, 0, 0],
    ]
    assert stream.labels.tolist() == stream.pictures.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert all((frame.image == frame.image[:1, :, :1]).all() for frame in stream)
    assert stream.batch_size == 1
    assert stream.settings == {"limit": None, "frames": 4}


@pytest.mark.parametrize(
    ("width", "frames", "white", "labels"),
    [
        (4, 2, [0, 2], [0, 1]),
        (4, 3, [0, 1, 2], [0, 0, 1]),
        (4, 8, [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 1, 1, 1, 1]),
        # 5 px have no half: 0, 1.25, 2.5 and 3.75 are rounded to the nearest, and halves up.
        (5, 4, [0, 1, 3, 4], [0, 0, 1, 1]),
        (5, 2, [0, 3], [0, 1]),
    ],
)
def test_columns_of_the_next_picture_and_labels_are_those_worked_out_by_hand(
    width: int, frames: int, white: list[int], labels: list[int]
) -> None:
    stream = black_first(pan(filled(BLACK, WHITE, width=width), [CLEAN], seed=1, frames=frames))
    assert rows(stream)[:frames] == [[BLACK] * (width - count) + [WHITE] * count for count in white]
    assert stream.labels[:frames].tolist() == labels


def test_window_is_an_array_of_its_own_at_every_step() -> None:
    black, white = filled(BLACK, WHITE).images
    for step in range(4):
        SideBySide(4)(black, white, step)[:] = 7
    assert (black == BLACK).all()
    assert (white == WHITE).all()


@given(st.integers(1, 20), st.integers(2, 25), st.integers(0, 2**32))
def test_label_is_that_of_the_picture_that_fills_more_of_the_view(width: int, frames: int, seed: int) -> None:
    for frame in pan(filled(0, 1, 2, width=width), [CLEAN], seed=seed, frames=frames):
        row = frame.image[0, :, 0].tolist()
        columns = row.count(frame.label)
        assert frame.label == frame.picture
        assert 2 * columns > width or (2 * columns == width and row[-1] == frame.label)


@given(st.integers(1, 3), st.integers(1, 20), st.integers(2, 25), st.integers(0, 2**32))
def test_view_moves_by_one_step_from_each_frame_to_the_next_also_where_the_domain_changes(
    count: int, width: int, frames: int, seed: int
) -> None:
    stream = pan(random_pictures(count, width), [CLEAN, AGAIN], seed=seed, frames=frames)
    steps = {width // frames, -(-width // frames)}
    for one, other in itertools.pairwise(stream):
        assert any(np.array_equal(one.image[:, step:], other.image[:, : width - step]) for step in steps)


@given(st.integers(1, 20), st.integers(2, 25))
def test_a_crossing_takes_as_many_frames_as_asked_and_shows_both_pictures_whole(width: int, frames: int) -> None:
    """The property above would hold of a view that stands still."""
    stream = pan(filled(0, 1, 2, width=width), [CLEAN], seed=0, frames=frames)
    whole = [frame.image[0, :, 0].tolist() for frame in stream[::frames]]
    assert whole == [[picture] * width for picture in stream.pictures[::frames].tolist()]
    assert sorted(stream.pictures[::frames].tolist()) == [0, 1, 2]


@given(st.integers(1, 9), st.integers(1, 3), st.integers(2, 30), st.integers(0, 2**32))
def test_every_picture_has_as_many_frames_in_every_domain(
    count: int, domains: int, frames: int, seed: int
) -> None:
    shown = [CLEAN, AGAIN, Domain("third")][:domains]
    stream = pan(filled(*range(count)), shown, seed=seed, frames=frames)
    pairs = Counter(zip(stream.places.tolist(), stream.pictures.tolist(), strict=True))
    assert pairs == dict.fromkeys(itertools.product(range(domains), range(count)), frames)


def test_order_is_drawn_by_the_seed_anew_in_each_domain_which_begins_where_the_last_one_ended() -> None:
    stream, other = (pan(filled(*range(20)), [CLEAN, AGAIN], seed=seed, frames=2) for seed in (0, 1))
    first, second = stream.pictures[:40:2].tolist(), stream.pictures[40::2].tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first not in (second, sorted(first))
    assert first[0] == second[0] == stream.pictures[39]
    assert other.pictures[:40:2].tolist() != first
    starts = {int(pan(filled(*range(20)), [CLEAN], seed=seed).pictures[0]) for seed in range(20)}
    assert len(starts) > 5


def test_frames_of_whole_pictures_are_those_of_the_continual_stream() -> None:
    domains = [CLEAN, Domain("noise", replace_by_noise)]
    by_content = {(f.domain, f.picture): f.image for f in continual(random_pictures(5, 12), domains, seed=3)}
    for frame in pan(random_pictures(5, 12), domains, seed=3, frames=6)[::6]:
        assert np.array_equal(frame.image, by_content[frame.domain, frame.picture])


def test_chance_of_the_shift_is_new_in_each_frame_and_each_visit() -> None:
    noise = Domain("noise", replace_by_noise)
    stream = pan(filled(0, 1, 2), [noise, CLEAN, noise], seed=0, frames=5)
    noisy = [frame.image.tobytes() for frame in stream if frame.domain == "noise"]
    assert len(set(noisy)) == len(noisy) == 30


def test_shift_acts_on_the_view_and_fit_on_each_of_both_pictures() -> None:
    fitted: list[tuple[int, ...]] = []
    shifted: list[NDArray[np.uint8]] = []

    def halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        fitted.append(image.shape)
        return image[:2, :2]

    def blacken(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        shifted.append(image.copy())
        image[:] = 0
        return image

    images = filled(100, 200)
    frame = pan(images, [Domain("dark", blacken)], seed=0, frames=2, fit=halve)[1]
    assert fitted == [(4, 4, 3), (4, 4, 3)]
    assert [sorted(view[0, :, 0].tolist()) for view in shifted] == [[100, 200]]
    assert frame.image.shape == (2, 2, 3)
    assert not frame.image.any()
    assert (images.images == filled(100, 200).images).all()


def test_noise_is_not_carried_along_with_the_view() -> None:
    fit = partial(fit_to_model, spec=PreprocessSpec(height=32, width=32, crop_pct=1, mean=(0,) * 3, std=(1,) * 3))
    stream = pan(filled(128, 128), [computed_domain("gaussian_noise", 5)], seed=0, frames=4, fit=fit)
    views = [frame.image.astype(float) for frame in stream]
    for one, other in itertools.pairwise(views):
        assert abs(np.corrcoef(one[:, 8:].ravel(), other[:, :-8].ravel())[0, 1]) < 0.1


def test_domain_from_disk_slides_over_its_own_pictures() -> None:
    stored = Domain("stored", pictures=filled(10, 11, 12, 13))
    clean, disk = rows(pan(filled(0, 1, 2, 3), [CLEAN], seed=2)), rows(pan(filled(0, 1, 2, 3), [stored], seed=2))
    assert disk == [[value + 10 for value in row] for row in clean]


def test_part_of_a_set_keeps_its_indices_with_both_pictures_in_view() -> None:
    stored = Domain("stored", pictures=filled(*range(40)))
    stream = pan(filled(*range(40)), [CLEAN, stored], seed=5, limit=3, frames=4)
    kept = set(stream.pictures.tolist())
    assert len(kept) == 3
    assert {value for row in rows(stream) for value in row} == kept
    assert all(frame.picture == frame.label == frame.image[0, 2, 0] for frame in stream)


def test_single_picture_stands_beside_itself() -> None:
    [picture] = random_pictures(1, 6).images
    stream = pan(random_pictures(1, 6), [CLEAN], seed=0, frames=3)
    assert all(
        np.array_equal(frame.image, np.roll(picture, -2 * step, axis=1)) for step, frame in enumerate(stream)
    )
    assert len(stream) == 3


def mixed_sizes() -> LabelledPictures:
    pictures = [np.full((4, width, 3), width, np.uint8) for width in (4, 6)]
    return LabelledPictures(pictures, np.array([0, 1]), ("a", "b"), np.array([0, 1]))


def test_pictures_of_different_size_are_refused_without_a_fit_when_a_frame_is_made() -> None:
    stream = pan(mixed_sizes(), [CLEAN], seed=0)
    assert sorted(set(stream.labels.tolist())) == [0, 1]
    with pytest.raises(ConfigError, match=r"\(4, [46], 3\) and \(4, [46], 3\).*side by side.*give a fit"):
        stream[0]


def test_pictures_of_different_size_are_fitted_to_one() -> None:
    shown = {frame.image.shape for frame in pan(mixed_sizes(), [CLEAN], seed=0, fit=lambda image: image[:, :4])}
    assert shown == {(4, 4, 3)}
