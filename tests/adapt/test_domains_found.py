"""The bank of domains: which frames wait, which found a domain, and which are counted to a known one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.adapt.domain import SOURCE
from tests.adapt.banks import at, bank_of, show


def test_unknown_frames_wait_and_become_a_domain_by_their_mean() -> None:
    bank = bank_of()
    show(bank, 3.0)
    assert (len(bank.domains), bank.current, bank.waiting) == (1, SOURCE, 1)
    show(bank, 4.0)
    assert (len(bank.domains), bank.waiting) == (1, 2)
    show(bank, 5.0)
    found = bank.domains[1]
    assert (found.number, found.frames, found.plain_frames, found.steered_frames) == (1, 3, 3, 0)
    assert found.centre == pytest.approx(at(4))
    assert found.plain == pytest.approx(at(4))
    assert found.steered is None
    assert (bank.current, bank.waiting) == (1, 0)
    assert bank.counts() == {"domains_found": 1, "domain_switches": 1}


@pytest.mark.parametrize("decide", [1, 2, 5])
def test_a_domain_is_found_after_as_many_frames_as_asked_for(decide: int) -> None:
    bank = bank_of(decide=decide)
    show(bank, *[3.0] * (decide - 1))
    assert len(bank.domains) == 1
    show(bank, 3.0)
    assert len(bank.domains) == 2


def test_single_odd_frame_is_absorbed_by_those_that_follow() -> None:
    # (1.4^2 > 0.5 + 1.2, so it waits; the mean of it and two frames at 0 lies within.)
    bank = bank_of()
    show(bank, 1.4)
    assert bank.waiting == 1
    show(bank, 0.0, 0.0)
    assert (len(bank.domains), bank.current, bank.waiting) == (1, SOURCE, 0)
    assert bank.counts() == {"domains_found": 0, "domain_switches": 0}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_odd_frame_among_those_that_wait_does_not_found_a_domain_with_them(place: int) -> None:
    frames = [5.0, 5.2, 4.8]
    frames.insert(place, -6.0)
    bank = bank_of()
    show(bank, *frames)
    (_, found) = bank.domains
    assert found.centre == pytest.approx(at(5))
    assert (found.frames, bank.waiting) == (3, 0)


def test_frames_that_all_lie_far_apart_found_nothing() -> None:
    bank = bank_of()
    show(bank, 4.0, -4.0, 8.0, -8.0, 12.0)
    assert (len(bank.domains), bank.waiting) == (1, 1)


def test_an_odd_frame_in_a_known_domain_is_dropped_and_the_others_are_counted_to_it() -> None:
    bank = bank_of()
    show(bank, 4.0, 4.0, 4.0, -5.0, 4.0, 4.0)
    assert len(bank.domains) == 2
    assert (bank.domains[1].frames, bank.current, bank.waiting) == (5, 1, 0)
    assert bank.domains[1].centre == pytest.approx(at(4))


@given(st.lists(st.integers(-20, 20), min_size=3, max_size=30), st.integers(2, 4))
def test_a_new_domain_s_frames_lie_near_their_mean(levels: list[int], decide: int) -> None:
    bank = bank_of(decide=decide, most_domains=99)
    for level in levels:
        before, known = bank.snapshot(), len(bank.domains)
        show(bank, float(level))
        if len(bank.domains) > known:
            waited = [frame.key for frame in before.pending] + [at(level)]
            near = [key for key in waited if np.mean((key - bank.domains[-1].centre) ** 2) <= 0.5 + 1.2]
            assert len(near) >= bank.domains[-1].frames >= decide


def test_a_frame_must_lie_well_within_the_domain_that_it_would_be_counted_to() -> None:
    # 1.3 lies well within the domain at 2; its mean with the frame that waits, -0.05, lies in the source, from
    # which 1.3 itself is 1.69 away: more than 0.5 + 0.8 * 1.2.
    bank = bank_of()
    show(bank, *[2.0] * 3, 0.0)
    assert (len(bank.domains), bank.current) == (2, SOURCE)
    show(bank, -1.4, 1.3)
    assert (bank.current, bank.waiting) == (SOURCE, 2)


def test_features_that_were_steered_for_another_domain_found_none_of_the_new_one_s_means() -> None:
    bank = bank_of()
    show(bank, *[4.0] * 3)
    show(bank, *[9.0] * 2, steered_for=1)
    show(bank, 9.0)
    found = bank.domains[2]
    assert (found.frames, found.plain_frames, found.steered_frames, found.steered) == (3, 1, 0, None)
    assert bank.feature_offset(2, steered=True) is None
    show(bank, 9.0, steered_for=2)
    assert (bank.domains[2].frames, bank.domains[2].steered_frames) == (4, 1)


def test_counts_of_what_was_found_are_not_taken_back_by_a_rollback() -> None:
    bank = bank_of()
    state = bank.snapshot()
    show(bank, *[4.0] * 3, 0.0)
    found = bank.counts()
    assert found == {"domains_found": 1, "domain_switches": 2}
    bank.restore(state)
    assert bank.counts() == found
    show(bank, *[4.0] * 3)
    assert bank.counts() == {"domains_found": 2, "domain_switches": 3}


def test_a_run_starts_at_the_source_with_nothing_waiting_and_all_domains_known() -> None:
    bank = bank_of()
    show(bank, *[4.0] * 3, -4.0)
    domains = bank.domains
    assert (bank.current, bank.waiting) == (1, 1)
    bank.start_run()
    assert (bank.current, bank.waiting) == (SOURCE, 0)
    assert bank.domains is domains
    show(bank, 4.0)
    assert bank.current == 1


def test_frame_of_a_known_domain_is_counted_to_it_at_once() -> None:
    bank = bank_of()
    show(bank, 3.0, 3.0, 3.0)
    show(bank, 0.0)
    assert bank.current == SOURCE
    show(bank, 3.1)
    assert (bank.current, bank.waiting, bank.domains[1].frames) == (1, 0, 4)
    assert bank.counts() == {"domains_found": 1, "domain_switches": 3}


@pytest.mark.parametrize(("value", "current"), [(2.82, 1), (2.74, SOURCE)])
def test_only_a_frame_well_within_another_domain_needs_no_others(value: float, current: int) -> None:
    # Squared distances to 4 are 1.39 and 1.59, either side of 0.5 + 0.8 * 1.2; both are below 0.5 + 1.2.
    bank = bank_of()
    show(bank, 4.0, 4.0, 4.0, 0.0, value)
    assert bank.current == current
    assert bank.waiting == int(current == SOURCE)


@pytest.mark.parametrize("odd", [1, 2])
def test_odd_frames_that_wait_do_not_stop_a_bank_for_good(odd: int) -> None:
    # Two that are alike would outvote every later frame: it would always be the farthest from the mean of all.
    bank = bank_of()
    show(bank, *[50.0] * odd)
    show(bank, *[0.0] * 13)  # as long as a frame waits, and one more
    assert (bank.waiting, bank.current) == (0, SOURCE)
    show(bank, *[4.0] * 3)
    assert (len(bank.domains), bank.current) == (2, 1)


def test_a_frame_waits_for_four_times_the_contents_that_make_a_domain() -> None:
    bank = bank_of(decide=3)
    show(bank, 50.0, 50.0, *[0.0] * 11)
    assert bank.waiting == 2
    show(bank, 0.0, 0.0)
    assert bank.waiting == 0


def test_where_domains_are_found_all_the_time_nothing_counts_as_known_of_them() -> None:
    bank = bank_of(decide=1, most_domains=99)
    show(bank, 10.0, *[10.0] * 40)
    assert bank.feature_offset(1, steered=False) is not None
    show(bank, 20.0, 30.0)  # two of the last 24 contents: 1 / 24 and a little less of it
    assert not bank.tells_domains
    assert bank.feature_offset(1, steered=False) is None
    assert bank.key_offset(1) is None
    show(bank, *[30.0] * 8)
    assert bank.tells_domains
    assert bank.feature_offset(1, steered=False) is not None


def test_a_new_run_begins_as_one_whose_keys_tell_domains() -> None:
    bank = bank_of(decide=1, most_domains=99)
    show(bank, *map(float, range(10, 100, 10)))
    assert not bank.tells_domains
    bank.start_run()
    assert bank.tells_domains


@pytest.mark.parametrize(("count", "level", "found"), [(100, 1.5, 1), (8, 1.5, 0), (8, 3.0, 1), (3, 50.0, 0)])
def test_the_fewer_images_the_source_is_known_by_the_farther_a_new_domain_must_lie(
    count: int, level: float, found: int
) -> None:
    # A frame is the source's within 0.5 + 0.8 * 1.2 = 1.46, squared; with 8 images within 9 / 5 * 97 / 101 of
    # that, 2.52. These lie 2.25 or 9 away; with 3 images nothing is far.
    bank = bank_of(source_frames=count)
    show(bank, *[level] * 3)
    assert len(bank.domains) == 1 + found
