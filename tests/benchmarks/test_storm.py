"""The benchmark of what a storm leaves behind, on digits: the same code with a small model."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import storm
from benchmarks.storm import measure, storm_of
from moase_edge.bench.workbench import Workbench
from moase_edge.config.bench import BenchSettings

CALM, STORM = 10, 30
SETTINGS = BenchSettings(data="digits", methods=("edge",), source_images=60, pictures=20)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    with closing(Workbench(SETTINGS)) as bench:
        return measure(bench, bench.part(0), storm=STORM, calm=CALM)


def test_a_storm_is_a_third_noise_a_third_black_and_a_third_white() -> None:
    frames = list(storm_of(6, (4, 4, 3), np.random.default_rng(0)))
    assert all(frame.shape == (4, 4, 3) and frame.dtype == np.uint8 for frame in frames)
    assert [int(frame.min()) == int(frame.max()) for frame in frames] == [False, False, True, True, True, True]
    assert [int(frame.max()) for frame in frames[2:]] == [0, 0, 255, 255]


def test_every_clean_picture_is_judged_once_and_the_difference_is_that_of_the_errors(
    measured: dict[str, Any],
) -> None:
    assert measured["judged"] == 20
    error = measured["error"]
    assert measured["points_above_frozen"] == pytest.approx(error["adapted"] - error["frozen"])
    assert abs(error["adapted"] - error["frozen"]) <= 100 * measured["answers_changed"] / measured["judged"] + 1e-9


def test_every_frame_of_storm_and_calm_is_learned_from_before_the_first_that_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[bool] = []

    class AlwaysZero:
        def predict(self, images: NDArray[np.float32], _stages: object) -> SimpleNamespace:
            return SimpleNamespace(logits=np.array([[1.0, 0.0]]), flat=np.ptp(images) == 0)

        def learn(self, prediction: SimpleNamespace) -> None:
            learned.append(prediction.flat)

        def counts(self) -> dict[str, int]:
            return {"learned": len(learned)}

    monkeypatch.setattr(storm, "build_method", lambda *_: AlwaysZero())
    with closing(Workbench(SETTINGS)) as bench:
        part = bench.part(0)
        found = measure(bench, part, storm=STORM, calm=CALM)
    assert found["counts_after_storm_and_calm"] == {"learned": STORM + CALM}
    flat = 2 * STORM // 3
    assert learned[STORM - flat : STORM] == [True] * flat
    assert len(learned) == STORM + CALM + len(part.clean)
    assert found["error"]["adapted"] == pytest.approx(100 * np.mean([each.label != 0 for each in part.clean]))
