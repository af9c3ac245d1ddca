from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.metrics.classification import ErrorCounter, error_by_domain, top1_error

frames = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["fog", "snow", "night"])), min_size=1
)


def test_one_wrong_of_four_is_25_percent() -> None:
    assert top1_error([1, 2, 3, 4], [1, 2, 3, 0]) == 25.0
    assert top1_error([1], [1]) == 0.0


@pytest.mark.parametrize(("predictions", "labels"), [([1, 2], [1]), ([], []), ([[1]], [[1]])])
def test_error_of_unequal_empty_or_nested_input_is_refused(predictions: list[int], labels: list[int]) -> None:
    with pytest.raises(ConfigError, match="one class index a frame"):
        top1_error(predictions, labels)


def test_domains_keep_the_order_in_which_they_appear() -> None:
    errors = error_by_domain([0, 0, 0, 0], [0, 1, 1, 0], ["snow", "fog", "fog", "snow"])
    assert list(errors.items()) == [("snow", 0.0), ("fog", 100.0)]


def test_missing_domain_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 predictions, 2 labels and 1 domains"):
        error_by_domain([0, 0], [0, 1], ["snow"])


def test_mean_over_domains_counts_each_domain_once_and_overall_each_frame() -> None:
    counter = ErrorCounter()
    counter.add(prediction=0, label=1, domain="fog")
    for _ in range(3):
        counter.add(prediction=2, label=2, domain="snow")
    assert counter.by_domain() == {"fog": 100.0, "snow": 0.0}
    assert counter.mean_over_domains() == 50.0
    assert counter.overall() == 25.0
    assert counter.frames == 4


def test_a_frame_without_domain_counts_overall_only() -> None:
    counter = ErrorCounter()
    counter.add(prediction=0, label=1)
    assert counter.overall() == 100.0
    assert counter.by_domain() == {}
    assert math.isnan(counter.mean_over_domains())


def test_an_empty_counter_has_no_error() -> None:
    assert math.isnan(ErrorCounter().overall())


@given(frames)
def test_counter_agrees_with_the_error_of_the_whole_list(stream: list[tuple[int, int, str]]) -> None:
    counter = ErrorCounter()
    for prediction, label, domain in stream:
        counter.add(prediction=prediction, label=label, domain=domain)
    predictions, labels, domains = zip(*stream, strict=True)
    assert counter.overall() == pytest.approx(top1_error(predictions, labels))
    for domain, error in counter.by_domain().items():
        chosen = [i for i, name in enumerate(domains) if name == domain]
        assert error == pytest.approx(top1_error([predictions[i] for i in chosen], [labels[i] for i in chosen]))
