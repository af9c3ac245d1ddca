"""What a reservoir of features keeps, and that it gives it back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moase_edge.adapt.reservoir import Reservoir
from moase_edge.adapt.sidecar import Taps
from tests.adapt.backbones import draw

TOKENS, CHANNELS = 2, 3


def rows(*marks: float) -> Taps:
    """A row for each mark: it fills `mid`, and its negative `out`."""
    mid = torch.tensor(marks).view(-1, 1, 1).expand(-1, TOKENS, CHANNELS)
    return Taps(mid=mid, out=-mid)


def offer(reservoir: Reservoir, label: int, time: int, doubt: float = 0.0) -> None:
    """One row, marked with its time."""
    reservoir.add(rows(float(time)), torch.tensor([label]), torch.tensor([doubt]), time)


def reservoir_of(capacity: int, *offers: tuple[int, float]) -> Reservoir:
    """Of rows (class, uncertainty), offered one by one from time 0."""
    reservoir = Reservoir(capacity, TOKENS, CHANNELS)
    for time, (label, doubt) in enumerate(offers):
        offer(reservoir, label, time, doubt)
    return reservoir


def times(reservoir: Reservoir) -> list[int]:
    return sorted(reservoir.time.tolist())


def counts(reservoir: Reservoir) -> list[int]:
    return reservoir.predicted.bincount().tolist()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_everything_is_taken_while_there_is_room() -> None:
    reservoir = reservoir_of(4, (0, 0.9), (0, 0.1), (0, 1.0))
    assert times(reservoir) == [0, 1, 2]
    assert counts(reservoir) == [3]


def test_a_scarcer_class_replaces_the_worst_row_of_the_largest() -> None:
    reservoir = reservoir_of(4, (0, 0.0), (0, 0.8), (0, 0.1), (1, 0.9))
    offer(reservoir, 1, 4, doubt=1.0)
    # Of class 0 the uncertain row goes; the more uncertain one of class 1 is not looked at.
    assert times(reservoir) == [0, 2, 3, 4]
    assert counts(reservoir) == [2, 2]


def test_of_equally_certain_rows_the_oldest_goes() -> None:
    reservoir = reservoir_of(3, (0, 0.2), (0, 0.2), (1, 0.2))
    offer(reservoir, 0, 3, doubt=0.2)
    assert times(reservoir) == [1, 2, 3]


def test_a_row_of_the_largest_class_stays_within_it() -> None:
    reservoir = reservoir_of(4, (1, 1.0), (0, 0.5), (0, 0.1), (0, 0.1))
    offer(reservoir, 0, 4)
    assert times(reservoir) == [0, 2, 3, 4]


def test_a_row_worse_than_all_of_its_largest_class_is_left_out() -> None:
    reservoir = reservoir_of(8, *[(0, 0.0)] * 8)
    # The oldest stands at 0 + 7 / 8, then at 8 / 8.
    offer(reservoir, 0, 7, doubt=1.0)
    assert times(reservoir) == [0, 1, 2, 3, 4, 5, 6, 7]
    offer(reservoir, 0, 8, doubt=1.0)
    assert times(reservoir) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("age", "stays"), [(7, True), (9, False)])
def test_a_certain_row_outlives_an_uncertain_one_by_as_many_rows_as_there_is_room_for(
    age: int, stays: bool
) -> None:
    reservoir = Reservoir(8, TOKENS, CHANNELS)
    offer(reservoir, 0, 0, doubt=0.0)
    for _ in range(7):
        offer(reservoir, 0, age, doubt=1.0)
    offer(reservoir, 0, age, doubt=0.5)
    assert (0 in times(reservoir)) == stays


@pytest.mark.parametrize("seed", range(3))
def test_one_class_for_minutes_leaves_the_others_their_places_and_stays_recent(seed: int) -> None:
    capacity, frames = 64, 3600
    reservoir = Reservoir(capacity, TOKENS, CHANNELS)
    doubts = torch.rand(200 + frames, generator=seeded(seed), dtype=torch.float64).tolist()
    for time in range(200):
        offer(reservoir, time % 4, time, doubts[time])
    assert counts(reservoir) == [16] * 4
    for time in range(200, 200 + frames):
        offer(reservoir, 2, time, doubts[time])
    assert counts(reservoir) == [16] * 4
    age = 200 + frames - reservoir.time[reservoir.predicted == 2]
    assert int(age.max()) <= 2 * capacity
    assert int(age.max() - age.min()) >= 16


def test_a_stream_that_was_of_one_class_balances_as_others_come() -> None:
    reservoir = reservoir_of(12, *[(5, 0.1)] * 100)
    assert counts(reservoir)[5] == 12
    for time in range(100, 130):
        offer(reservoir, time % 2, time, doubt=1.0)
    assert counts(reservoir) == [4, 4, 0, 0, 0, 4]


def test_rows_of_a_batch_are_offered_one_after_the_other() -> None:
    together, single = (Reservoir(5, TOKENS, CHANNELS) for _ in range(2))
    labels, doubts = torch.tensor([0, 0, 1, 0, 2, 0, 0, 1]), draw(8).sigmoid()
    together.add(rows(*range(8)), labels, doubts, time=0)
    for time in range(8):
        offer(single, int(labels[time]), time, float(doubts[time]))
    assert_same(together, single)


def test_rows_are_copied_and_keep_their_taps_together() -> None:
    reservoir = Reservoir(4, TOKENS, CHANNELS)
    taps = Taps(*(tap.clone() for tap in rows(1, 2, 3)))
    reservoir.add(taps, torch.zeros(3, dtype=torch.int64), torch.zeros(3), 0)
    for tap in taps:
        tap.zero_()
    found = reservoir.sample(3, seeded())
    assert found is not None
    assert sorted(found.mid[:, 0, 0].tolist()) == [1, 2, 3]
    assert torch.equal(found.out, -found.mid)
    found.mid.zero_()
    again = reservoir.sample(3, seeded())
    assert again is not None
    assert again.mid.all()


def test_sample_is_of_different_rows_repeats_with_its_seed_and_reaches_all() -> None:
    reservoir = reservoir_of(8, *[(0, 0.0)] * 8)

    def drawn(seed: int) -> list[float]:
        taps = reservoir.sample(3, seeded(seed))
        assert taps is not None
        assert taps.mid.shape == taps.out.shape == (3, TOKENS, CHANNELS)
        return taps.mid[:, 0, 0].tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    assert all(len(set(drawn(seed))) == 3 for seed in range(20))
    assert set().union(*(drawn(seed) for seed in range(20))) == set(range(8))


def test_sample_gives_what_there_is() -> None:
    reservoir = Reservoir(8, TOKENS, CHANNELS)
    assert reservoir.sample(3, seeded()) is None
    offer(reservoir, 0, 0)
    found = reservoir.sample(3, seeded())
    assert found is not None
    assert len(found.mid) == 1
    assert reservoir.sample(0, seeded()) is None


def test_memory_is_taken_once() -> None:
    reservoir = Reservoir(4, TOKENS, CHANNELS)
    before = [tensor.data_ptr() for tensor in storage(reservoir)]
    for time in range(20):
        offer(reservoir, time % 3, time)
    reservoir.restore(reservoir.snapshot())
    reservoir.reset()
    assert [tensor.data_ptr() for tensor in storage(reservoir)] == before
    assert len(reservoir) == 0


def storage(reservoir: Reservoir) -> list[Tensor]:
    return [*reservoir._taps, reservoir._predicted, reservoir._uncertainty, reservoir._time]


def assert_same(found: Reservoir, expected: Reservoir) -> None:
    """Bit for bit, rows in the same places."""
    one, other = found.snapshot(), expected.snapshot()
    for name in ("predicted", "uncertainty", "time"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert all(torch.equal(a, b) for a, b in zip(one.taps, other.taps, strict=True))


@pytest.mark.parametrize("before", [0, 3, 30])
def test_run_continues_from_a_snapshot_as_it_did_the_first_time(before: int) -> None:
    labels = torch.randint(4, (60,), generator=seeded()).tolist()
    doubts = draw(60).sigmoid().tolist()

    def go_on(reservoir: Reservoir, first: int, last: int) -> Reservoir:
        for time in range(first, last):
            offer(reservoir, labels[time], time, doubts[time])
        return reservoir

    reservoir = go_on(Reservoir(6, TOKENS, CHANNELS), 0, before)
    state = reservoir.snapshot()
    reached = go_on(reservoir, before, 60)
    other = go_on(Reservoir(6, TOKENS, CHANNELS), 40, 60)
    other.restore(state)
    assert_same(go_on(other, before, 60), reached)
    # Later rows did not reach the snapshot.
    other.restore(state)
    assert_same(other, go_on(Reservoir(6, TOKENS, CHANNELS), 0, before))


def test_reset_forgets_every_row() -> None:
    reservoir = reservoir_of(4, *[(0, 0.5)] * 9)
    reservoir.reset()
    assert reservoir.sample(2, seeded()) is None
    for time, label in enumerate((1, 1, 0)):
        offer(reservoir, label, time)
    assert_same(reservoir, reservoir_of(4, (1, 0.0), (1, 0.0), (0, 0.0)))
