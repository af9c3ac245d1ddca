"""What is compared and what is timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.gpu_frames import data_file, frames_for
from benchmarks.gpu_subject import UNJUDGED
from benchmarks.gpu_timing import DeviceAnswers, Inside, Ready, summarise
from moase_edge.artifact.store import load_artifact
from moase_edge.calib.search import dealt
from moase_edge.config.precision import THRESHOLDS
from moase_edge.engines.deviation import Deviation, failures_of


class Turns:
    """A device engine with two buffers, whose `run` nothing should ask for."""

    device = "cpu"

    def __init__(self) -> None:
        self._buffers = [torch.zeros(1), torch.zeros(1)]
        self._count = 0

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Any:
        raise AssertionError("these are not the buffers that are timed")

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        self._count += 1
        return {"out": self._buffers[self._count % 2].fill_(float(images.sum()))}

    def close(self) -> None:
        """Nothing is held."""


def test_answers_are_taken_from_the_buffers_that_are_timed_and_outlive_them() -> None:
    answers = DeviceAnswers(Turns(), nullcontext)
    found = [answers.run(np.full((1,), value, np.float32))["out"] for value in (1.0, 2.0, 3.0)]
    assert [float(of[0]) for of in found] == [1.0, 2.0, 3.0]


def test_frames_are_made_before_they_are_timed_and_each_is_taken_once() -> None:
    made: list[int] = []

    def stream() -> Iterator[Any]:
        for number in count():
            made.append(number)
            yield number

    ready = Ready(stream(), 2)
    ready.refill()
    assert made == [0, 1]
    assert [ready.take(), ready.take()] == [0, 1]
    assert made == [0, 1], "none is made while it is waited for"
    assert ready.take() == 2, "but where none is left"
    ready.refill()
    ready.refill()
    assert made == [0, 1, 2, 3, 4]


def test_the_target_is_on_the_engine_s_p99_with_updates_over_that_without() -> None:
    times = {"engine": [1.0], "prediction": [2.0], "update": [3.0]}
    held = summarise(times, {"prediction": Inside([10.0, 10.0]), "update": Inside([11.9, 11.9], [7.0])})
    missed = summarise(times, {"prediction": Inside([10.0, 10.0]), "update": Inside([10.0, 13.0])})
    assert held["met"]
    assert held["engine_worked_ms"] == {"update": {"count": 1, "p50": 7.0, "p95": 7.0, "p99": 7.0}}
    assert missed["p99_ratio"] == pytest.approx(1.297)
    assert not missed["met"]
    assert missed["engine_worked_ms"] == {}


def test_frames_to_compare_on_are_held_out_of_the_ranges(steerable_artifact: Path, source_digits: Path) -> None:
    spec = load_artifact(steerable_artifact, verify=False).manifest.preprocess
    for photos, title in (
        (source_digits, f"4 frames of {source_digits.name}"),
        (None, "4 frames of seeded noise"),
    ):
        frames = frames_for(spec, 4, photos=photos, seed=0)
        assert frames.shown.title == title
        ranging = dealt(frames.calibration.frames, 3)[0]
        assert len(ranging) == 8
        assert not any(np.array_equal(shown, one) for shown in frames.shown.frames for one in ranging)


def test_graphs_of_random_weights_are_built_whatever_they_make_of_noise() -> None:
    wild = [Deviation(-0.5, 1e3, 1e3, 1e3, False)] * 8
    assert failures_of(wild, UNJUDGED["bf16"]) == []
    assert len(failures_of(wild, THRESHOLDS["bf16"])) == 5


def test_data_is_what_the_folder_that_is_named_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("MOASE_EDGE_DATA", str(tmp_path))
    assert data_file("photos") == tmp_path / "photos"
    assert data_file("weights/none.safetensors") is None
    monkeypatch.delenv("MOASE_EDGE_DATA")
    assert data_file("photos") is None
