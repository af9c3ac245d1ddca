"""Order and content of the streams that every protocol makes, checked on sets small enough to do by hand."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.data.domains import computed_domain
from moase_edge.data.labelled import Domain, LabelledImages
from moase_edge.data.protocols import PROTOCOLS, Stream, make_protocol
from moase_edge.data.protocols.by_domain import continual, cyclic, gradual, single_frame
from moase_edge.data.protocols.shuffled import jumps, mixed
from moase_edge.data.selection import subset
from moase_edge.errors import ConfigError

CLASSES = 3


def pictures(count: int = 6, side: int = 16) -> LabelledImages:
    """Picture i is filled with the value i and has the label i % 3."""
    values = np.arange(count, dtype=np.uint8)
    return LabelledImages(
        images=np.tile(values[:, None, None, None], (1, side, side, 3)),
        labels=np.arange(count, dtype=np.int64) % CLASSES,
        names=("a", "b", "c"),
    )


def replace_by_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


def add(image: NDArray[np.uint8], rng: np.random.Generator, *, value: int) -> NDArray[np.uint8]:
    shifted: NDArray[np.uint8] = image + np.uint8(value)
    return shifted


def plus(severity: int) -> Domain:
    """A shift that adds ten times its severity."""
    return Domain("plus", partial(add, value=10 * severity), severity=severity, at=plus)


A, B, C = Domain("a"), Domain("b"), Domain("c")
NOISE = Domain(
    "noise", replace_by_noise, severity=5, at=lambda severity: Domain("noise", replace_by_noise, None, severity)
)
EVERY_PROTOCOL = sorted(PROTOCOLS)


def order(stream: Stream) -> list[int]:
    return [int(picture) for picture in stream.pictures]


def names(stream: Stream) -> list[str]:
    return [stream.domain_names[place] for place in stream.places]


def leveled(*domain_names: str) -> list[Domain]:
    """Domains that have severities, for protocols that want them."""
    return [computed_domain(name, 5) for name in domain_names]


def runs(values: Sequence[object]) -> list[int]:
    """Lengths of the runs of equal neighbours."""
    return [len(list(group)) for _, group in itertools.groupby(values)]


def same(one: Stream, other: Stream) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.image, b.image)
        and (a.label, a.domain, a.picture, a.time) == (b.label, b.domain, b.picture, b.time)
        for a, b in zip(one, other, strict=True)
    )


def test_continual_shows_every_picture_once_in_each_domain_in_turn() -> None:
    stream = continual(pictures(), [A, B], seed=0)
    assert names(stream) == ["a"] * 6 + ["b"] * 6
    assert sorted(order(stream)[:6]) == sorted(order(stream)[6:]) == [0, 1, 2, 3, 4, 5]
    assert stream.batch_size is None


def test_continual_shuffles_each_domain_anew() -> None:
    stream = continual(pictures(50), [A, B], seed=0)
    first, second = order(stream)[:50], order(stream)[50:]
    assert first != second
    assert first != sorted(first)


def test_frames_carry_label_picture_time_and_severity() -> None:
    for index, frame in enumerate(continual(pictures(), [A, plus(3)], seed=1)):
        assert frame.time == index
        assert frame.label == frame.picture % CLASSES
        assert frame.severity == (None if frame.domain == "a" else 3)
        assert frame.image[0, 0, 0] == frame.picture + (0 if frame.domain == "a" else 30)
        assert frame.round == 0


def test_domain_that_returns_shows_the_same_pictures_with_new_chance() -> None:
    stream = continual(pictures(), [NOISE, A, NOISE], seed=0)
    again = {frame.picture: frame.image.tobytes() for frame in stream[12:]}
    assert all(again[frame.picture] != frame.image.tobytes() for frame in stream[:6])
    assert stream.domain_names == ("noise", "a")
    assert stream.places.tolist() == [0] * 6 + [1] * 6 + [0] * 6


def test_single_frame_is_the_continual_stream_one_at_a_time() -> None:
    stream = single_frame(pictures(), [A, NOISE], seed=4)
    assert stream.batch_size == 1
    assert same(stream, continual(pictures(), [A, NOISE], seed=4))


def test_cyclic_repeats_the_continual_stream_with_new_order_and_chance() -> None:
    once = continual(pictures(20), [A, NOISE], seed=2)
    stream = cyclic(pictures(20), [A, NOISE], seed=2, rounds=3)
    assert len(stream) == 3 * len(once)
    assert [frame.round for frame in stream] == [0] * 40 + [1] * 40 + [2] * 40
    assert names(stream) == (["a"] * 20 + ["noise"] * 20) * 3
    rounds = [order(stream)[start : start + 20] for start in range(0, 120, 20)]
    assert all(sorted(shown) == list(range(20)) for shown in rounds)
    assert len({tuple(shown) for shown in rounds}) == 6
    assert all(np.array_equal(a.image, b.image) for a, b in zip(stream, once, strict=False))
    noise = [frame.image.tobytes() for frame in stream if frame.domain == "noise"]
    assert len(set(noise)) == len(noise) == 60


def test_gradual_goes_up_and_down_in_severity_for_each_domain() -> None:
    stream = gradual(pictures(4), [plus(5), NOISE], seed=0)
    severities = [frame.severity for frame in stream]
    up_and_down = [severity for severity in (1, 2, 3, 4, 5, 4, 3, 2, 1) for _ in range(4)]
    assert severities == up_and_down * 2
    assert names(stream) == ["plus"] * 36 + ["noise"] * 36
    assert stream.domain_names == ("plus", "noise")
    for start in range(0, 72, 4):
        assert sorted(order(stream)[start : start + 4]) == [0, 1, 2, 3]
    for frame in stream[:36]:
        assert frame.severity is not None
        assert frame.image[0, 0, 0] == frame.picture + 10 * frame.severity


def test_gradual_ignores_the_severity_that_a_domain_stands_at() -> None:
    assert same(gradual(pictures(4), [plus(5)], seed=0), gradual(pictures(4), [plus(1)], seed=0))


def test_gradual_draws_new_chance_on_the_way_down() -> None:
    stream = gradual(pictures(2), [NOISE], seed=0)
    assert len({frame.image.tobytes() for frame in stream}) == 18


def test_gradual_deals_pictures_to_short_steps() -> None:
    stream = gradual(pictures(6), [plus(5)], seed=0, frames_per_step=4)
    assert runs([frame.severity for frame in stream]) == [4] * 9
    # 36 frames are six whole shuffles of six pictures.
    for start in range(0, 36, 6):
        assert sorted(order(stream)[start : start + 6]) == [0, 1, 2, 3, 4, 5]


def test_gradual_refuses_a_domain_without_severities() -> None:
    with pytest.raises(ConfigError, match="'a' has no severities"):
        gradual(pictures(), [plus(5), A], seed=0)


def test_mixed_shows_every_picture_once_in_each_domain_in_one_shuffle() -> None:
    stream = mixed(pictures(40), [A, B, C], seed=0)
    pairs = Counter(zip(names(stream), order(stream), strict=True))
    assert pairs == Counter(itertools.product("abc", range(40)))
    # In a fair shuffle of three domains two neighbours differ with probability 2/3: about 80 of 119.
    assert 60 < len(runs(names(stream))) < 100


def test_mixed_shows_the_frames_of_continual_in_another_order() -> None:
    by_content = {
        (frame.domain, frame.picture): frame.image.tobytes() for frame in continual(pictures(), [A, NOISE], seed=7)
    }
    for frame in mixed(pictures(), [A, NOISE], seed=7):
        assert by_content[frame.domain, frame.picture] == frame.image.tobytes()


def test_jumps_come_every_few_frames_and_never_to_the_same_domain() -> None:
    stream = jumps(pictures(12), [A, B, C], seed=0, every=4)
    assert runs(names(stream)) == [4] * 9
    assert Counter(zip(names(stream), order(stream), strict=True)) == Counter(itertools.product("abc", range(12)))
    # Every domain comes once before any comes again.
    visited = names(stream)[::4]
    assert all(set(visited[start : start + 3]) == {"a", "b", "c"} for start in (0, 3, 6))


def test_last_stretch_of_each_domain_is_shorter_where_pictures_do_not_divide() -> None:
    stream = jumps(pictures(5), [A, B], seed=0, every=2)
    assert runs(names(stream)) == [2, 2, 2, 2, 1, 1]


@given(st.integers(1, 9), st.integers(2, 4), st.integers(1, 10), st.integers(0, 2**32))
def test_jumps_always_jump(count: int, domains: int, every: int, seed: int) -> None:
    stream = jumps(pictures(count), [A, B, C, NOISE][:domains], seed=seed, every=every)
    assert len(stream) == count * domains
    lengths = runs(names(stream))
    assert len(lengths) == domains * -(-count // every)
    assert max(lengths) <= every


def test_single_domain_cannot_jump() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        jumps(pictures(), [A], seed=0)


@pytest.mark.parametrize("name", EVERY_PROTOCOL)
def test_same_seed_repeats_and_another_seed_differs(name: str) -> None:
    images, domains = pictures(8), leveled("gaussian_noise", "impulse_noise")
    first, again, other = (make_protocol(name, images, domains, seed=seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("name", EVERY_PROTOCOL)
def test_any_frame_can_be_made_alone(name: str) -> None:
    images, domains = pictures(5), leveled("gaussian_noise", "shot_noise")
    in_order = list(make_protocol(name, images, domains, seed=1))
    fresh = make_protocol(name, images, domains, seed=1)
    for index in (len(in_order) - 1, 0, 7, -3, 7):
        assert np.array_equal(fresh[index].image, in_order[index].image)
        assert fresh[index].time == in_order[index].time
    with pytest.raises(IndexError):
        fresh[len(in_order)]


@pytest.mark.parametrize("name", EVERY_PROTOCOL)
def test_frames_are_pictures_with_running_time_and_what_the_arrays_say(name: str) -> None:
    stream = make_protocol(name, pictures(5), leveled("gaussian_noise", "fog"), seed=1)
    assert stream.name == name
    frames = list(stream)
    assert len(frames) == len(stream)
    assert [frame.time for frame in frames] == list(range(len(frames)))
    assert [frame.label for frame in frames] == stream.labels.tolist()
    assert [frame.picture for frame in frames] == stream.pictures.tolist()
    assert [frame.domain for frame in frames] == names(stream)
    assert all(frame.label == frame.picture % CLASSES for frame in frames)
    assert {frame.image.shape for frame in frames} == {(16, 16, 3)}
    assert all(frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous for frame in frames)


@pytest.mark.parametrize("name", EVERY_PROTOCOL)
def test_every_picture_is_shown_as_often_in_every_domain(name: str) -> None:
    stream = make_protocol(name, pictures(6), leveled("gaussian_noise", "fog", "contrast"), seed=1)
    counts = Counter(zip(names(stream), order(stream), strict=True))
    assert set(counts) == set(itertools.product(("gaussian_noise", "fog", "contrast"), range(6)))
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("name", EVERY_PROTOCOL)
def test_stream_travels_to_another_process(name: str) -> None:
    stream = make_protocol(name, pictures(3), leveled("gaussian_noise", "mirror"), seed=1)
    assert same(stream, pickle.loads(pickle.dumps(stream)))


@pytest.mark.parametrize("name", EVERY_PROTOCOL)
def test_limit_draws_the_same_pictures_for_all_protocols(name: str) -> None:
    domains = leveled("fog", "contrast")
    stream = make_protocol(name, pictures(40), domains, seed=5, limit=7)
    expected = continual(pictures(40), domains, seed=5, limit=7)
    assert set(order(stream)) == set(order(expected))
    assert len(set(order(stream))) == 7
    assert stream.settings["limit"] == 7


def test_limit_depends_on_the_seed_and_may_exceed_the_pictures() -> None:
    drawn = [set(order(continual(pictures(40), [A], seed=seed, limit=7))) for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    assert drawn[0] != set(range(7))
    assert len(continual(pictures(4), [A], seed=0, limit=7)) == 4


def test_fit_acts_before_the_shift() -> None:
    halved = continual(pictures(), [plus(3)], seed=0, fit=lambda image: image[:8, :8] // 2)
    for frame in halved:
        assert frame.image.shape == (8, 8, 3)
        assert frame.image[0, 0, 0] == frame.picture // 2 + 30


def test_part_of_a_set_keeps_picture_indices_and_reads_its_own_pictures_from_disk() -> None:
    part = subset(pictures(10), np.array([7, 2, 4]))
    stored = Domain("stored", pictures=pictures(10).images + np.uint8(100))
    frames = list(continual(part, [A, stored], seed=0))
    assert sorted(frame.picture for frame in frames) == [2, 2, 4, 4, 7, 7]
    assert all(
        frame.image[0, 0, 0] == frame.picture + (100 if frame.domain == "stored" else 0) for frame in frames
    )
    assert all(frame.label == frame.picture % CLASSES for frame in frames)


def test_frame_owns_its_memory() -> None:
    images, stored = pictures(), pictures()
    for frame in continual(images, [A, Domain("stored", pictures=stored)], seed=0):
        frame.image[:] = 255
    assert np.array_equal(images.images, pictures().images)
    assert np.array_equal(stored.images, pictures().images)


def test_shift_in_place_leaves_the_pictures_alone() -> None:
    def blacken(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        image[:] = 0
        return image

    images = pictures()
    assert not any(frame.image.any() for frame in continual(images, [Domain("black", blacken)], seed=0))
    assert np.array_equal(images.images, pictures().images)
