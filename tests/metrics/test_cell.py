from __future__ import annotations

import json
import math
from time import process_time
from typing import Any

import numpy as np
import pytest

from moase_edge.errors import ConfigError
from moase_edge.metrics.cell import NO_ANSWER, CellFigures, CellRecord, figures, pooled_difference
from tests.metrics.cells import cell


def computed(record: CellRecord, source: CellRecord | None = None, **settings: Any) -> CellFigures:
    return figures(record, source, rng=np.random.default_rng(0), **settings)


def test_errors_are_those_of_the_record_by_construction() -> None:
    record = cell([True, False, False, False] * 2 + [True] * 2, domain=np.array([0] * 8 + [1] * 2))
    found = computed(record)
    assert found.error_by_domain == {"fog": 25.0, "snow": 100.0}
    assert found.frames_by_domain == {"fog": 8, "snow": 2}
    assert found.mean_error == 62.5
    assert found.overall_error == 40.0
    assert found.frames == 10


def test_a_domain_without_frames_is_in_no_figure() -> None:
    found = computed(cell([True, False], domains=("fog", "night", "snow"), domain=np.array([2, 0])))
    assert found.error_by_domain == {"fog": 0.0, "snow": 100.0}
    assert found.mean_error == 50.0


def test_the_source_differs_from_itself_by_exactly_nothing() -> None:
    source = cell([True, False, False, True])
    difference = computed(source, source).difference
    assert difference is not None
    assert (difference.mean.points, difference.mean.low, difference.mean.high) == (0.0, 0.0, 0.0)


def test_the_difference_to_the_source_is_by_domain_and_in_the_mean() -> None:
    difference = computed(cell([False, False, True, True]), cell([True, True, True, False])).difference
    assert difference is not None
    assert {name: found.points for name, found in difference.by_domain.items()} == {"fog": -100.0, "snow": 50.0}
    assert difference.mean.points == -25.0
    assert computed(cell([True, False])).difference is None


@pytest.mark.parametrize("other", [{"label": [1, 0]}, {"domain": [0, 0]}, {"picture": [5, 6]}])
def test_a_source_that_saw_other_frames_is_refused(other: dict[str, list[int]]) -> None:
    source = cell([True, False], **{name: np.array(values) for name, values in other.items()})
    with pytest.raises(ConfigError, match=f"^{next(iter(other))} of the method's 2 frames"):
        computed(cell([True, False]), source)


def test_a_source_of_other_length_or_domain_names_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method's 2 frames and of the source's 4"):
        computed(cell([True] * 2), cell([True] * 4))
    with pytest.raises(ConfigError, match="'night'"):
        computed(cell([True] * 2), cell([True] * 2, domains=("fog", "night")))


def test_seeds_are_pooled_by_domain_name_and_picture() -> None:
    rng = np.random.default_rng(0)
    other = {"domains": ("snow", "fog")}
    methods = [cell([False, True, False, False]), cell([True, True, False, False], **other)]
    sources = [cell([True] * 4), cell([True] * 4, **other)]
    pooled = pooled_difference(methods, sources, rng=rng)
    # fog: the first two frames of the first seed, the last two of the second.
    assert {name: found.points for name, found in pooled.by_domain.items()} == {"fog": -75.0, "snow": -50.0}


def test_more_seeds_over_the_same_pictures_do_not_narrow_the_interval() -> None:
    method, source = cell([False, True] * 20), cell([True, True] * 20)
    once, thrice = (
        pooled_difference([method] * seeds, [source] * seeds, rng=np.random.default_rng(0)) for seeds in (1, 3)
    )
    assert once == thrice
    assert once.mean.low < -50.0 < once.mean.high


def test_pooling_needs_a_source_for_each_record() -> None:
    record = cell([True])
    for sources in ([], [record] * 2):
        with pytest.raises(ConfigError, match=f"1 records and {len(sources)} sources"):
            pooled_difference([record], sources, rng=np.random.default_rng(0))


def test_frames_without_answer_are_wrong_counted_and_left_out_of_the_calibration() -> None:
    record = cell(
        [False] * 4,
        prediction=np.array([0, 0, 0, NO_ANSWER]),
        confidence=np.array([0.75, 0.75, 0.75, math.nan], dtype=np.float32),
    )
    found = computed(record)
    assert (found.unanswered, found.overall_error) == (1, 25.0)
    assert found.calibration_error == pytest.approx(25.0)


def test_frames_that_the_frozen_model_was_not_asked_about_are_no_error_of_its_own() -> None:
    frozen = np.array([NO_ANSWER, 0, 1, NO_ANSWER])
    asked = cell([True] * 4, frozen_prediction=frozen, domain=np.zeros(4, dtype=np.int64))
    assert computed(asked).frozen_mean_error == 50.0
    # Beside the frozen model's own answer it is one that it does not have: wrong.
    itself = cell(
        [True] * 4, frozen_prediction=frozen, domain=np.zeros(4, dtype=np.int64), adapted=np.zeros(4, bool)
    )
    assert computed(itself).frozen_mean_error == 75.0
    never = cell([True] * 4, frozen_prediction=np.full(4, NO_ANSWER))
    assert computed(never).frozen_mean_error is None


def test_a_domain_that_the_frozen_model_was_never_asked_about_does_not_count_in_its_mean() -> None:
    record = cell([True] * 4, frozen_prediction=np.array([0, 1, NO_ANSWER, NO_ANSWER]))  # fog, fog, snow, snow
    assert computed(record).frozen_mean_error == 50.0


def test_frozen_answers_have_an_error_of_their_own() -> None:
    record = cell([True] * 4, frozen_prediction=np.array([0, 0, 0, 1]))
    assert computed(record).frozen_mean_error == 25.0
    assert computed(cell([True] * 4)).frozen_mean_error is None


def test_updates_and_the_share_answered_frozen_are_counted() -> None:
    record = cell([True] * 4, adapted=np.array([False, True, True, True]), updated=np.array([False, True] * 2))
    found = computed(record)
    assert (found.share_frozen, found.updates) == (0.25, 2)


def test_recovery_uses_the_given_window_and_tolerance() -> None:
    record = cell([True, True, False, False, False, False] + [False] * 6)
    found = computed(record, window=2, tolerance=0.0)
    assert [(visit.domain, visit.frames) for visit in found.recovery] == [("fog", 2), ("snow", 0)]
    assert computed(record).recovery == ()


def test_figures_as_plain_data_are_json() -> None:
    record = cell([True, False, False, False, True, True])
    data = computed(record, record, window=1).plain()
    assert json.loads(json.dumps(data)) == data
    assert data["difference"]["by_domain"]["fog"] == {"points": 0.0, "low": 0.0, "high": 0.0}
    assert data["recovery"][0]["domain"] == "fog"


def test_the_arrays_of_a_record_are_read_only() -> None:
    record = cell([True, False])
    with pytest.raises(ValueError, match="read-only"):
        record.prediction[0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.zeros(3, dtype=np.int64)}, r"label of a cell has shape \(3,\)"),
        ({"label": np.zeros(2, dtype=np.int32)}, "int32; expected"),
        ({"confidence": np.zeros(2)}, r"float64; expected \(2,\) float32"),
        ({"adapted": np.zeros(2, dtype=np.int64)}, "adapted of a cell"),
        ({"frozen_prediction": np.zeros(1, dtype=np.int64)}, "frozen_prediction of a cell"),
        ({"domain": np.array([0, 2])}, "expected 0 to 1"),
        ({"domains": ("fog", "fog")}, "each name once"),
        ({"prediction": np.array([0, -2])}, "prediction of a cell falls to -2"),
        ({"label": np.array([0, -1])}, "label of a cell falls to -1"),
        ({"picture": np.array([0, -1])}, "picture of a cell falls to -1"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cell([True, False], **changes)


def test_a_record_without_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one frame"):
        cell([])


def test_a_large_cell_takes_less_than_a_second_of_processor_time() -> None:
    rng = np.random.default_rng(0)
    frames = 9600
    shared = {
        "domains": tuple("abcdefgh"),
        "domain": np.repeat(np.arange(8), 1200),
        "picture": np.tile(np.repeat(np.arange(100), 12), 8),
    }
    source, method = (cell((rng.random(frames) < 0.5).tolist(), **shared) for _ in range(2))
    begin = process_time()
    found = computed(method, source)
    assert process_time() - begin < 1.0
    assert len(found.recovery) == 8
