"""The figures of a benchmark whose every cell is known by construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from moase_edge.bench.grid import Cell
from moase_edge.bench.results import MethodResult, ProtocolResult, assemble
from moase_edge.errors import StorageError
from moase_edge.metrics.cell import NO_ANSWER
from tests.bench.finished import Kept, alternating, finish, kept, settings_of

SETTINGS = settings_of(methods=("edge", "recentre-0.9"), protocols=("continual", "mixed"), seeds=(0, 1))
HALF = [True, False] * 20
ALL, NONE = [True] * 40, [False] * 40


def at(*frames: int) -> np.ndarray:
    """(80,) True at these frames."""
    return np.isin(np.arange(80), frames)


def continual(method: str, seed: int) -> Kept:
    """40 frames of fog, then 40 of snow, a picture each."""
    source = (ALL + HALF, ALL + ALL)[seed]
    if method == "edge":
        return (
            kept(
                [True] * 10 + [False] * 70,
                [True, False, False, False],
                adapted=~at(*range(20)),
                updated=at(*range(0, 80, 4)),
                rolled_back=at(7),
                failed=at(3),
                ms=3.0,
                peak_mib=None,
            ),
            kept([True] * 20 + [False] * 60, rolled_back=at(8, 9), ms=5.0, peak_mib=400.0),
        )[seed]
    unanswered = {"prediction": np.where(at(0, 1), NO_ANSWER, 1)} if (method, seed) == ("recentre-0.9", 1) else {}
    return kept(source, adapted=at(), updated=at(), **unanswered)


def contents(cell: Cell) -> Kept:
    """Under `mixed` all methods answer alike: right in fog, wrong in snow, a frame each in turn."""
    if cell.protocol == "continual":
        return continual(cell.method, cell.seed)
    return kept([False, True] * 10, **alternating(20))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[ProtocolResult]:
    return assemble(SETTINGS, finish(tmp_path_factory.mktemp("bench"), SETTINGS, contents))


@pytest.fixture
def edge(results: list[ProtocolResult]) -> MethodResult:
    return results[0].methods["edge"]


def test_each_protocol_has_every_method_the_source_first(results: list[ProtocolResult]) -> None:
    assert [found.protocol for found in results] == ["continual", "mixed"]
    assert [list(found.methods) for found in results] == [["source", "edge", "recentre-0.9"]] * 2
    assert [found.frames for found in results] == [80, 20]
    assert results[0].source is results[0].methods["source"]


def test_errors_are_means_over_domains_then_over_seeds(edge: MethodResult, results: list[ProtocolResult]) -> None:
    # Fog and snow: 25 and 0 % with the first seed, 50 and 0 % with the second.
    assert edge.error_by_domain == {"fog": 37.5, "snow": 0.0}
    assert (edge.error.mean, edge.error.count) == (18.75, 2)
    assert edge.error.deviation == pytest.approx(12.5 / math.sqrt(2))
    assert [found.mean_error for found in edge.by_seed.values()] == [12.5, 25.0]
    source = results[0].source
    assert source.error_by_domain == {"fog": 100.0, "snow": 75.0}
    assert (source.error.mean, source.error.deviation) == (87.5, pytest.approx(25.0 / math.sqrt(2)))
    assert results[1].methods["edge"].error_by_domain == {"fog": 0.0, "snow": 100.0}


def test_the_difference_to_the_source_pools_the_seeds_and_its_interval_has_its_sign(edge: MethodResult) -> None:
    assert edge.difference is not None
    assert {name: found.points for name, found in edge.difference.by_domain.items()} == {
        "fog": -62.5,
        "snow": -75.0,
    }
    mean = edge.difference.mean
    assert mean.points == -68.75
    assert -100.0 < mean.low < mean.points < mean.high < 0.0
    by_seed = [found.difference.mean.points for found in edge.by_seed.values() if found.difference]
    assert by_seed == [-62.5, -75.0]


def test_what_answers_as_the_source_does_differs_by_nothing_and_the_source_has_no_difference(
    results: list[ProtocolResult],
) -> None:
    same = results[0].methods["recentre-0.9"].difference
    assert same is not None
    assert (same.mean.points, same.mean.low, same.mean.high) == (0.0, 0.0, 0.0)
    assert results[0].source.difference is None
    assert all(found.difference is None for found in results[0].source.by_seed.values())


def test_pictures_are_resampled_not_frames(tmp_path: Path) -> None:
    """Of two pictures of 20 frames each, one is mended. A draw has both, or one of them twice."""
    settings = settings_of(corruptions=("fog",), protocols=("clips",))
    of_pictures = {"picture": np.repeat([3, 8], 20), "domain": np.zeros(40, np.int64), "domains": ("fog",)}

    def of(cell: Cell) -> Kept:
        return kept(ALL if cell.method == "source" else [True] * 20 + [False] * 20, **of_pictures)

    found = assemble(settings, finish(tmp_path, settings, of))[0].methods["edge"].difference
    assert found is not None
    assert (found.mean.points, found.mean.low, found.mean.high) == (-50.0, -100.0, 0.0)


def test_forgetting_is_the_error_on_clean_pictures_less_the_source_s(
    edge: MethodResult, results: list[ProtocolResult]
) -> None:
    # A quarter of the clean pictures with the first seed, none with the second; the source errs on none.
    assert (edge.forgetting.mean, edge.forgetting.deviation) == (12.5, pytest.approx(25.0 / math.sqrt(2)))
    assert results[0].source.forgetting.mean == 0.0


def test_calibration_error_compares_confidence_with_the_share_of_right_answers(
    edge: MethodResult, results: list[ProtocolResult]
) -> None:
    # All are answered with confidence 0.5; 87.5 and 75 % are right, of the source's 25 and 0 %.
    assert edge.calibration_error.mean == pytest.approx((37.5 + 25.0) / 2)
    assert results[0].source.calibration_error.mean == pytest.approx((25.0 + 50.0) / 2)


def test_recovery_is_the_median_over_the_shifts_of_all_seeds(
    edge: MethodResult, results: list[ProtocolResult]
) -> None:
    frames = {seed: [visit.frames for visit in found.recovery] for seed, found in edge.by_seed.items()}
    assert frames == {0: [10, 0], 1: [20, 0]}
    assert edge.recovery_frames == 5.0
    # A visit of one frame has nothing to recover in.
    assert results[1].methods["edge"].recovery_frames is None


def test_answers_updates_rollbacks_and_troubles_are_counted_over_the_seeds(
    edge: MethodResult, results: list[ProtocolResult]
) -> None:
    # A quarter of the answers with the first seed was frozen, none with the second.
    assert edge.share_frozen == 0.125
    assert (edge.updates, edge.rollbacks, edge.failures, edge.unanswered) == (20 + 80, 1 + 2, 1, 0)
    other = results[0].methods["recentre-0.9"]
    assert (other.share_frozen, other.updates, other.rollbacks, other.unanswered) == (1.0, 0, 0, 2)


def test_time_is_the_median_and_memory_the_highest_over_seeds(
    edge: MethodResult, results: list[ProtocolResult], tmp_path: Path
) -> None:
    assert edge.ms_per_frame == 4.0
    assert edge.peak_memory_mib == 400.0
    settings = settings_of(protocols=("mixed",))
    unknown = finish(tmp_path, settings, lambda cell: kept([False, True], peak_mib=None))
    assert math.isnan(assemble(settings, unknown)[0].source.peak_memory_mib)


def test_what_repeats_holds_neither_time_nor_memory_nor_trace(edge: MethodResult) -> None:
    plain = edge.plain()
    assert {"measured", "trace"} & set(plain) == set()
    assert set(plain["by_seed"]) == {"0", "1"}
    assert plain["difference"]["mean"]["points"] == -68.75


def test_marks_name_the_domain_that_begins_and_the_trace_is_of_the_first_seed(
    results: list[ProtocolResult], edge: MethodResult
) -> None:
    assert results[0].marks == ((0.0, "fog"), (40.0, "snow"))
    assert len(results[1].marks) == 20
    assert results[1].marks[:3] == ((0.0, "fog"), (1.0, "snow"), (2.0, "fog"))
    assert results[0].window == 10
    assert (edge.trace.x[0], edge.trace.mean[0]) == (9.0, 100.0)
    assert (edge.trace.x[-1], edge.trace.mean[-1]) == (79.0, 0.0)


@pytest.mark.parametrize(
    ("lengths", "window"),
    [
        ((40, 40), 10),
        ((60, 20), 10),  # a quarter of the mean visit, whatever each one's length
        ((400, 400), 100),
        ((200, 200), 50),
        ((2000, 2000), 100),  # at most
        ((6,), 10),  # at least, also in a stream that is shorter
        ((1,) * 60, 10),
    ],
)
def test_the_window_is_a_quarter_of_a_visit_within_bounds(
    lengths: Sequence[int], window: int, tmp_path: Path
) -> None:
    settings = settings_of(methods=("source",), protocols=("continual",), bootstrap=100)
    domain = np.repeat(np.arange(len(lengths)) % 2, lengths)
    out = finish(tmp_path, settings, lambda cell: kept([True] * len(domain), domain=domain))
    assert assemble(settings, out)[0].window == window


def test_a_domain_that_one_seed_lacks_has_the_error_of_the_others(tmp_path: Path) -> None:
    settings = settings_of(protocols=("mixed",), seeds=(0, 1))

    def of(cell: Cell) -> Kept:
        snow_alone = {"domain": np.ones(4, np.int64)} if cell.seed else {}
        return kept([True, True, False, True], **snow_alone)

    found = assemble(settings, finish(tmp_path, settings, of))[0].source
    assert found.error_by_domain == {"fog": 100.0, "snow": (50.0 + 75.0) / 2}
    assert found.error.mean == (75.0 + 75.0) / 2


def test_the_source_of_each_seed_is_that_of_the_same_frames(tmp_path: Path) -> None:
    """Labels differ by seed; a source of the other seed would be refused."""
    settings = settings_of(protocols=("continual",), seeds=(5, 3))

    def of(cell: Cell) -> Kept:
        label = np.full(8, cell.seed)
        right = cell.method == "edge"
        return kept([not right] * 8, label=label, prediction=label if right else label + 1)

    found = assemble(settings, finish(tmp_path, settings, of))[0].methods["edge"]
    assert list(found.by_seed) == [5, 3]
    assert found.difference is not None
    assert found.difference.mean.points == -100.0


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    out = finish(tmp_path, SETTINGS, contents)
    (Cell("mixed", 1, "edge").files(out).folder / "clean.npz").unlink()
    with pytest.raises(StorageError, match=r"clean\.npz"):
        assemble(SETTINGS, out)
