"""The bank of domains: recognises, discovers, forgets and corrects no more than is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.adapt.domain import SOURCE, Domain, Frame
from moase_edge.adapt.domains import DomainBank
from tests.adapt.banks import C, at, bank_of, show
from tests.adapt.trackers import values_of


def test_new_bank_knows_the_source_alone_and_corrects_nothing() -> None:
    bank = bank_of()
    assert [domain.number for domain in bank.domains] == [0]
    assert (bank.current, bank.waiting) == (SOURCE, 0)
    assert bank.recognise(np.array([at(0), at(9)])).slot.tolist() == [0, 0]
    assert bank.feature_offset(SOURCE, steered=False) is None
    assert bank.key_offset(SOURCE) is None
    assert bank.counts() == {"domains_found": 0, "domain_switches": 0}


def test_keys_are_in_units_of_the_source_s_spread() -> None:
    mean, std = np.array([1.0, 2.0]), np.array([0.5, 4.0])
    bank = DomainBank(mean, std, mean, std, source_frames=9)
    keys = bank.keys(np.array([[2.0, -2.0]], dtype=np.float32))
    assert keys.dtype == np.float64
    assert keys.tolist() == [[2.0, -1.0]]


def test_channel_that_never_moved_counts_with_a_hundredth_of_the_mean_spread() -> None:
    std = np.array([0.0, 1.0, 1.0, 2.0])
    bank = DomainBank(np.zeros(C), std, np.zeros(C), std, source_frames=9)
    assert bank.keys(np.full((1, C), 0.01))[0].tolist() == pytest.approx([1, 0.01, 0.01, 0.005])


def test_frames_near_the_source_are_the_source_and_move_nothing() -> None:
    bank = bank_of()
    show(bank, *np.linspace(-0.9, 0.9, 50))
    assert len(bank.domains) == 1
    assert bank.domains[0].centre.tolist() == [0.0] * C
    assert (bank.current, bank.waiting) == (SOURCE, 0)


def test_nearest_domain_is_recognised_row_by_row() -> None:
    bank = bank_of()
    show(bank, *[3.0] * 3, *[-4.0] * 3)
    found = bank.recognise(np.array([at(2.9), at(0.2), at(-3.0), at(-1.0)]))
    assert found.slot.tolist() == [1, 0, 2, 0]


def test_share_is_the_projection_on_the_domain_s_deviation_between_0_and_1() -> None:
    bank = bank_of()
    show(bank, *[3.0] * 3)
    keys = np.array([at(1.8), at(3.0), at(6.0), [6.0, 6.0, -1.0, 1.0]])
    assert bank.recognise(keys).share == pytest.approx([0.6, 1, 1, 1])
    sideways = bank_of(recognise_by_key=False)
    show(sideways, 3.0)
    assert sideways.recognise(np.array([at(-1.0), [1.0, -1.0, 0, 0], at(1.5)])).share == pytest.approx([0, 0, 0.5])


@pytest.mark.parametrize("wrong", [[np.nan] * C, [np.inf, -np.inf, 0, 0], [np.inf] * C])
@pytest.mark.parametrize("by_key", [True, False])
def test_key_that_is_not_finite_counts_as_the_source_and_touches_no_other_row(
    wrong: list[float], by_key: bool
) -> None:
    bank = bank_of(recognise_by_key=by_key)
    show(bank, *[3.0] * 3)
    found = bank.recognise(np.array([wrong, at(3.0)]))
    assert found.slot.tolist() == [0, 1]
    assert found.share.tolist() == [0, 1]


def test_means_are_plain_at_first_and_forget_half_in_a_half_life() -> None:
    # A half-life of 1: each frame weighs at least a half.
    bank = bank_of(half_life=1.0, decide=1)
    show(bank, 4.0, 5.0)
    assert bank.domains[1].plain == pytest.approx(at(4.5))
    show(bank, 3.5)
    assert bank.domains[1].plain == pytest.approx(at(4))
    assert bank.domains[1].centre == pytest.approx(at(4))
    slow = bank_of(half_life=1e6, decide=1)
    show(slow, 4.0, 5.0, 4.2, 3.8)
    assert slow.domains[1].plain == pytest.approx(at(4.25))


@given(st.lists(st.floats(-0.4, 0.4), min_size=3, max_size=60))
def test_mean_stays_among_its_frames(offsets: list[float]) -> None:
    bank = bank_of()
    frames = [4 + offset for offset in offsets]
    show(bank, *frames)
    (_, domain) = bank.domains
    assert domain.frames == len(frames)
    assert domain.plain is not None
    assert (min(frames) - 1e-9 <= domain.plain).all()
    assert (domain.plain <= max(frames) + 1e-9).all()


def test_features_with_and_without_steering_are_kept_apart() -> None:
    bank = bank_of(decide=1)
    bank.observe(at(3), at(10), steered_for=SOURCE)
    bank.observe(at(3), at(20), steered_for=1)
    bank.add_features(1, at(40), steered=True)
    bank.add_features(1, at(12), steered=False)
    domain = bank.domains[1]
    assert domain.plain == pytest.approx(at(11))
    assert domain.steered == pytest.approx(at(30))
    assert (domain.frames, domain.plain_frames, domain.steered_frames) == (2, 2, 2)


def test_nothing_is_added_to_the_source() -> None:
    bank = bank_of()
    before = values_of(bank.snapshot())
    bank.add_features(SOURCE, at(7), steered=False)
    assert values_of(bank.snapshot()) == before


def test_offset_is_shrunk_by_what_sampling_explains() -> None:
    # 4 frames against 4 source images: v = 1/4 + 1/4; d = 2 in every channel: 1 - 0.5 / 4.
    bank = bank_of(source_frames=4, decide=1, half_life=1e6)
    for _ in range(4):
        bank.observe(at(3), at(2), steered_for=SOURCE)
    assert bank.feature_offset(1, steered=False) == pytest.approx(at(2 * 0.875))
    assert bank.feature_offset(1, steered=True) is None
    # Of the keys d = 3.
    assert bank.key_offset(1) == pytest.approx(at(3 * (1 - 0.5 / 9)))


def test_offset_is_in_units_of_the_features_and_weighs_channels_by_their_spread() -> None:
    # Spread 2: the standardised difference is 1, v = 1 + 1/4 of one frame; caution 0.4 leaves a half.
    bank = bank_of(source_frames=4, std=2.0, decide=1, caution=0.4)
    bank.observe(at(3), at(2), steered_for=SOURCE)
    assert bank.feature_offset(1, steered=False) == pytest.approx(at(2 * 0.5))
    # Keys of 3 spreads are 6: 1 - 0.4 * 1.25 / 9.
    assert bank.key_offset(1) == pytest.approx(at(6 * (1 - 0.5 / 9)))


def test_difference_that_is_no_more_than_chance_moves_nothing() -> None:
    bank = bank_of(source_frames=4, decide=1)
    bank.observe(at(3), at(1.1), steered_for=SOURCE)  # 1.21 < 1 + 1/4
    assert bank.feature_offset(1, steered=False) is None
    bank.observe(at(3), at(1.1), steered_for=SOURCE)  # 1.21 > 1/2 + 1/4
    assert bank.feature_offset(1, steered=False) is not None
    same = bank_of(decide=1, caution=0.0)
    same.observe(at(3), at(0), steered_for=SOURCE)
    assert same.feature_offset(1, steered=False) is None


def test_without_caution_the_whole_difference_is_taken() -> None:
    bank = bank_of(decide=1, caution=0.0)
    show(bank, 3.0)
    bank.observe(at(3), at(0.2), steered_for=1)
    assert bank.feature_offset(1, steered=True) == pytest.approx(at(0.2))


@given(
    mean=st.floats(-5, 5),
    frames=st.integers(1, 200),
    caution=st.floats(0, 5),
    half_life=st.sampled_from([1e-3, 1.0, 34.0, 1e20]),
)
def test_offset_never_leads_past_the_mean_nor_away_from_it(
    mean: float, frames: int, caution: float, half_life: float
) -> None:
    bank = bank_of(decide=1, caution=caution, half_life=half_life)
    for _ in range(frames):
        bank.observe(at(3), at(mean), steered_for=SOURCE)
    offset = bank.feature_offset(1, steered=False)
    if offset is not None:
        assert (np.abs(offset) <= abs(mean) * (1 + 1e-9)).all()
        assert (offset * mean > 0).all()


def test_remembered_frames_bound_how_well_a_mean_is_known() -> None:
    # Half-life 1 keeps a half: (1 + 0.5) / (1 - 0.5) = 3 frames, however many there were.
    bank = bank_of(source_frames=6, decide=1, half_life=1.0)
    for _ in range(50):
        bank.observe(at(3), at(2), steered_for=SOURCE)
    assert bank.feature_offset(1, steered=False) == pytest.approx(at(2 * (1 - (1 / 3 + 1 / 6) / 4)))


def test_domain_not_seen_for_longest_makes_room() -> None:
    bank = bank_of(most_domains=2, decide=1)
    show(bank, 4.0, 8.0, 4.0, 12.0)
    assert [domain.number for domain in bank.domains] == [0, 1, 3]
    assert bank.domains[2].frames == 1
    assert bank.domains[2].centre == pytest.approx(at(12))
    assert bank.current == 2
    show(bank, 8.0)
    assert [domain.number for domain in bank.domains] == [0, 4, 3]
    assert bank.counts() == {"domains_found": 4, "domain_switches": 5}


def test_domain_that_takes_the_place_of_the_one_at_hand_is_a_switch() -> None:
    bank = bank_of(most_domains=1, decide=1)
    show(bank, 4.0, 4.0, 8.0, 8.0, 4.0)
    assert bank.counts() == {"domains_found": 3, "domain_switches": 3}
    assert bank.domains[1].number == 3


@given(st.lists(st.integers(-4, 4), max_size=60), st.integers(1, 3), st.integers(1, 4))
def test_bank_holds_no_more_domains_than_allowed_and_the_source_never_moves(
    levels: list[int], most: int, decide: int
) -> None:
    bank = bank_of(most_domains=most, decide=decide)
    show(bank, *[3.0 * level for level in levels])
    numbers = [domain.number for domain in bank.domains]
    assert len(numbers) <= most + 1
    assert len(set(numbers)) == len(numbers)
    assert bank.current < len(numbers)
    assert bank.waiting < decide
    assert bank.domains[0].centre.tolist() == [0.0] * C
    assert all(domain.frames > 0 for domain in bank.domains[1:])


def test_where_keys_tell_little_all_frames_are_of_one_domain_that_is_always_present() -> None:
    bank = bank_of(recognise_by_key=False)
    assert bank.recognise(np.array([at(9)])).slot.tolist() == [0]
    show(bank, 0.0, 9.0, -9.0)
    assert len(bank.domains) == 2
    assert (bank.domains[1].frames, bank.waiting) == (3, 0)
    assert bank.domains[1].plain == pytest.approx(at(0), abs=1e-12)
    assert bank.recognise(np.array([at(9), at(0), at(-9)])).slot.tolist() == [1, 1, 1]
    assert bank.counts() == {"domains_found": 1, "domain_switches": 1}


def stream(seed: int, frames: int = 40) -> NDArray[np.float64]:
    """Frames (n, C) of three domains, a dozen at a time."""
    rng = np.random.default_rng(seed)
    centres = 4.0 * rng.integers(-1, 2, size=(frames // 12 + 1, C)).repeat(12, axis=0)[:frames]
    return centres + rng.normal(scale=0.6, size=(frames, C))


def run(bank: DomainBank, frames: NDArray[np.float64]) -> None:
    for index, frame in enumerate(frames):
        bank.observe(frame, 2 * frame, steered_for=index % 3)


@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize("seen", [0, 1, 2, 17])
def test_restored_bank_continues_bit_for_bit(seen: int, by_key: bool) -> None:
    bank, other = (bank_of(recognise_by_key=by_key, most_domains=2) for _ in range(2))
    run(bank, stream(1)[:seen])
    state = bank.snapshot()
    as_taken = values_of(state)
    run(bank, stream(2))
    assert values_of(state) == as_taken
    run(other, stream(3))
    other.restore(state)
    run(other, stream(2))
    assert values_of(other.snapshot()) == values_of(bank.snapshot())


def test_reset_bank_is_as_a_new_one() -> None:
    bank = bank_of()
    run(bank, stream(1))
    assert bank.counts()["domains_found"] > 0
    bank.reset()
    assert values_of(bank.snapshot()) == values_of(bank_of().snapshot())
    run(bank, stream(2))
    fresh = bank_of()
    run(fresh, stream(2))
    assert values_of(bank.snapshot()) == values_of(fresh.snapshot())


def test_a_domain_after_another_frame_is_another_object() -> None:
    domain = Domain(1, at(1), at(1), None, 1, 1, 0, 1)
    later = domain.with_frame(Frame(at(3), at(5), SOURCE, 7), keep=0.9, now=7)
    assert (domain.centre.tolist(), domain.frames, domain.last_seen) == ([1.0] * C, 1, 1)
    assert (later.centre.tolist(), later.frames, later.last_seen) == ([2.0] * C, 2, 7)
    assert later.plain is not None
    assert later.plain.tolist() == [3.0] * C
