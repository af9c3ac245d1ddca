"""Values that leave what an int8 engine was calibrated for are counted and warned of."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import pytest
import torch

from moase_edge.adapt.tracker import Tracker
from moase_edge.engines.base import DeviceEngine, device_of, precision_of
from moase_edge.engines.ranges import (
    WatchedDeviceEngine,
    WatchedEngine,
    count_anew,
    counts_outside,
    new_frames,
)
from moase_edge.runtime.tracked_run import run_tracked
from tests.runtime.steered import KnownTracker, SteerableEngine
from tests.runtime.steered import images as domains

SPANS = {"images": (-1.0, 1.0), "mid": (0.0, 10.0), "other": (0.0, 1.0)}


class Doubling:
    """`mid` is ten times the mean of an image; says that it is int8."""

    name = "doubling"
    precision = "int8"
    rebuilt = "yes"
    closed = False

    def run(self, images: Any, shift: Any = None) -> dict[str, Any]:
        return {"mid": 10 * images.mean(axis=(1, 2, 3), keepdims=True)[:, :, 0] + (0 if shift is None else shift)}

    def close(self) -> None:
        self.closed = True


def images(*levels: float) -> Any:
    return np.stack([np.full((3, 2, 2), level, np.float32) for level in levels])


def test_frames_outside_are_counted_by_tensor_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    engine = WatchedEngine(Doubling(), SPANS)
    with caplog.at_level(logging.WARNING):
        engine.run(images(0.5, 1.5, -0.2))  # the second: images and mid; the third: mid
        engine.run(images(3.0))
    assert counts_outside(engine) == {
        "frames outside the calibrated range of images": 2,
        "frames outside the calibrated range of mid": 3,
    }
    assert engine.frames == 4
    assert len(caplog.records) == 2
    assert "images leaves the range of the calibration frames (-1.2 to 1.2; got -0.2 to 1.5)" in caplog.text


def test_a_tenth_of_the_span_is_allowed_beyond_it() -> None:
    engine = WatchedEngine(Doubling(), SPANS)
    engine.run(images(1.0, 1.09, -0.09))
    assert counts_outside(engine) == {}


def test_values_that_are_not_finite_are_outside() -> None:
    engine = WatchedEngine(Doubling(), {"mid": (0.0, 10.0)})
    engine.run(images(float("nan")))
    assert counts_outside(engine) == {"frames outside the calibrated range of mid": 1}


def test_it_is_the_engine_in_everything_else() -> None:
    inner = Doubling()
    engine = WatchedEngine(inner, SPANS)
    shift = np.ones((1, 1, 1), np.float32)
    np.testing.assert_array_equal(engine.run(images(0.5), shift)["mid"], inner.run(images(0.5), shift)["mid"])
    assert (engine.name, precision_of(engine), engine.rebuilt) == ("doubling", "int8", "yes")
    engine.close()
    assert inner.closed


def test_a_steered_run_is_looked_at_as_it_was_steered() -> None:
    engine = WatchedEngine(Doubling(), SPANS)
    engine.run(images(0.5), np.full((1, 1, 1), 7, np.float32))  # mid: 5 + 7
    engine.run(images(3.0), np.full((1, 1, 1), -25, np.float32))  # mid: 30 - 25
    assert counts_outside(engine) == {
        "frames outside the calibrated range of images": 1,
        "frames outside the calibrated range of mid": 1,
    }
    assert engine.frames == 2


def test_only_the_first_run_after_new_frames_counts() -> None:
    engine = WatchedEngine(Doubling(), SPANS)
    for _ in range(2):
        new_frames(engine)
        engine.run(images(3.0, 0.5), np.zeros((2, 1, 1), np.float32))
        engine.run(images(3.0))  # a trial, or the frozen answer
        engine.run(images(8.0, 8.0))  # augmented for an update
    assert counts_outside(engine) == {
        "frames outside the calibrated range of images": 2,
        "frames outside the calibrated range of mid": 2,
    }
    assert engine.frames == 4


def test_a_settled_domain_whose_every_run_is_steered_is_watched() -> None:
    engine, tracker = WatchedEngine(SteerableEngine(), {"images": (0.0, 0.5)}), KnownTracker(latest=1)
    for _ in range(100):
        new_frames(engine)
        run_tracked(engine, cast(Tracker, tracker), domains(1))
    assert counts_outside(engine) == {"frames outside the calibrated range of images": 100}
    assert engine.frames == 100


def test_frames_that_are_steered_for_another_domain_than_expected_count_once() -> None:
    inner = SteerableEngine()
    engine = WatchedEngine(inner, {"images": (0.0, 1.0), "token_means": (0.0, 1.0)})
    new_frames(engine)
    run_tracked(engine, cast(Tracker, KnownTracker(latest=1)), domains(1, 2, 0))
    assert len(inner.runs) == 2
    assert counts_outside(engine) == {
        "frames outside the calibrated range of images": 1,
        "frames outside the calibrated range of token_means": 1,
    }
    assert engine.frames == 3


class OnDevice(Doubling):
    """`Doubling` whose outputs are tensors."""

    device = "cpu"

    def run_on_device(self, images: Any, shift: Any = None) -> dict[str, Any]:
        return {name: torch.from_numpy(value) for name, value in self.run(images, shift).items()}


def test_outputs_that_stay_on_the_device_are_watched_there() -> None:
    engine = WatchedDeviceEngine(OnDevice(), SPANS)
    assert isinstance(engine, DeviceEngine)
    assert device_of(engine) == "cpu"
    found = engine.run_on_device(images(0.5, 3.0, -0.2, float("nan")))
    np.testing.assert_allclose(found["mid"][:2].ravel(), [5, 30])
    engine.run_on_device(images(3.0), np.full((1, 1, 1), -25, np.float32))
    assert counts_outside(engine) == {
        "frames outside the calibrated range of images": 3,
        "frames outside the calibrated range of mid": 3,
    }
    assert engine.frames == 5
    new_frames(engine)
    engine.run_on_device(images(0.5))
    engine.run(images(3.0))  # run again for the host
    assert engine.frames == 6


def test_a_new_count_begins_at_nothing() -> None:
    engine = WatchedEngine(Doubling(), SPANS)
    engine.run(images(3.0))
    count_anew(engine)
    assert (counts_outside(engine), engine.frames) == ({}, 0)
    count_anew(None)


def test_an_engine_that_is_not_watched_has_no_counts() -> None:
    assert counts_outside(Doubling()) == {}
