"""How far one engine is from another, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from moase_edge.config.precision import THRESHOLDS as SHIPPED
from moase_edge.config.precision import ParityThresholds
from moase_edge.engines.deviation import (
    Deviation,
    agreement_of,
    deviation_of,
    failures_of,
    median_error,
    median_token_means,
)

THRESHOLDS = ParityThresholds(
    cosine=0.9, relative_error=0.1, logits=0.2, token_means=0.3, gradients=0.1, top1_agreement=0.9
)


def outputs(
    mid: list[float], out: list[float], logits: list[float], means: list[list[float]] | None = None
) -> dict[str, np.ndarray]:
    found = {"mid": np.array([[mid]]), "out": np.array([[out]]), "logits": np.array([logits])}
    return {name: of.astype(np.float32) for name, of in found.items()} | (
        {} if means is None else {"token_means": np.array([means], np.float32)}
    )


def deviations(cosine: float = 1.0, error: float = 0.0, agrees: bool | None = True) -> Deviation:
    return Deviation(cosine, error, 0.0, None, agrees)


def test_the_worse_tap_counts() -> None:
    expected = outputs([3, 4], [1, 0], [0, 1])
    found = deviation_of(outputs([3, 4], [0.6, 0.8], [0, 2]), expected, head=True)
    assert found.cosine == pytest.approx(0.6)
    assert found.relative_error == pytest.approx(np.hypot(0.4, 0.8))
    assert found.logits == pytest.approx(1.0)
    assert found.agrees is True


def test_the_worst_block_of_token_means_counts_however_small_it_is() -> None:
    expected = outputs([1], [1], [1], [[0.01, 0], [100, 100]])
    found = deviation_of(outputs([1], [1], [1], [[0, 0.01], [100, 100]]), expected, head=True)
    assert found.cosine == pytest.approx(0.0)
    assert found.token_means == pytest.approx(np.sqrt(2))
    assert found.relative_error == found.logits == 0


def test_engines_that_agree_deviate_by_nothing() -> None:
    same = outputs([1, 2], [3, 4], [5, 6])
    assert deviation_of(same, same, head=False) == Deviation(pytest.approx(1.0), 0.0, 0.0, None, None)
    same = outputs([1, 2], [3, 4], [5, 6], [[1, 2], [3, 4]])
    assert deviation_of(same, same, head=True) == Deviation(pytest.approx(1.0), 0.0, 0.0, 0.0, True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_fails_everything(bad: float) -> None:
    expected = outputs([1, 1], [1, 1], [0, 1], [[1, 1]])
    found = deviation_of(outputs([1, bad], [1, 1], [0, 1], [[1, 1]]), expected, head=True)
    assert found == Deviation(-1.0, np.inf, np.inf, np.inf, False)
    assert len(failures_of([found, found], THRESHOLDS)) == 5


def test_each_failure_names_its_figure_and_its_threshold() -> None:
    frames = [
        Deviation(0.8, 0.2, 0.1, 0.4, True),
        Deviation(0.99, 0.3, 0.3, 0.5, False),
        Deviation(0.99, 0.01, 0.4, 0.6, False),
    ]
    found = [
        "least cosine 0.8000, at least 0.9",
        "taps: relative error 0.2, at most 0.1",
        "logits: relative error 0.3, at most 0.2",
        "token means: relative error 0.5, at most 0.3",
        "answers: 2 of 3 differ, 90% have to agree",
    ]
    assert failures_of(frames, THRESHOLDS) == found
    assert failures_of(frames, THRESHOLDS, under="steered") == [f"steered, {failure}" for failure in found]
    assert (median_error(frames), median_token_means(frames)) == (0.2, 0.5)
    assert agreement_of(frames) == pytest.approx(1 / 3)


def test_one_frame_of_few_may_answer_otherwise() -> None:
    frames = [deviations(agrees=index > 0) for index in range(4)]
    assert failures_of(frames, THRESHOLDS) == []
    assert agreement_of([deviations(agrees=None)]) is None


@pytest.mark.parametrize("broken", ["mid", "out", "logits", "token_means"])
@pytest.mark.parametrize("wrong", ["zeros", "another sign in one frame"])
def test_no_output_of_a_steerable_engine_can_be_broken_unnoticed(broken: str, wrong: str) -> None:
    """At the loosest thresholds that are shipped, those of int8."""
    generator = np.random.default_rng(0)

    def drawn() -> dict[str, np.ndarray]:
        """Outputs of one frame."""
        shapes = {"mid": (1, 1, 64), "out": (1, 1, 64), "logits": (1, 10), "token_means": (1, 6, 64)}
        return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

    expected = [drawn() for _ in range(4)]
    found = [dict(each) for each in expected]
    for index, each in enumerate(found):
        each[broken] = (
            np.zeros_like(each[broken]) if wrong == "zeros" else each[broken] * (-1 if index == 0 else 1)
        )
    pairs = zip(found, expected, strict=True)
    assert failures_of([deviation_of(*pair, head=True) for pair in pairs], SHIPPED["int8"])
    pairs = zip(expected, expected, strict=True)
    assert failures_of([deviation_of(*pair, head=True) for pair in pairs], SHIPPED["fp32"]) == []
