"""What happens to an update for which there is no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moase_edge.errors import ConfigError
from moase_edge.frames.frame import Frame
from moase_edge.runtime.method import Prediction
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of


class DeferringMethod(LevelMethod):
    def defer(self, prediction: Prediction) -> None:
        assert isinstance(prediction.memory, list)
        self.log.append(("defer", prediction.memory))


class LiveList(ListSource):
    """Live; a frame waits while the given ones are answered."""

    def __init__(self, frames: list[Frame], waits_during: set[int]) -> None:
        super().__init__(frames)
        self.live = True
        self._waits_during, self._at = waits_during, -1

    @property
    def waiting(self) -> bool:
        return self._at in self._waits_during

    def frames(self) -> Iterator[Frame]:
        for self._at, frame in enumerate(super().frames()):
            yield frame


def late(count: int, by_ms: float) -> list[Frame]:
    """Frames that were captured so long ago."""
    return [Frame(frame.image, frame.index, frame.captured_ns - int(by_ms * 1e6)) for frame in frames(count)]


def test_a_frame_that_is_late_already_is_answered_and_its_update_put_off() -> None:
    method = DeferringMethod()
    pipeline = pipeline_of(method, budget_ms=1e3)
    assert len(list(pipeline.run(ListSource(late(2, by_ms=2e3))))) == 2
    assert method.log == [("predict", [0]), ("defer", [0]), ("predict", [1]), ("defer", [1])]
    assert (pipeline.record.counts["updates"], pipeline.record.counts["updates_deferred"]) == (0, 2)


def test_an_update_that_fits_runs() -> None:
    method = DeferringMethod()
    pipeline = pipeline_of(method, budget_ms=1e6)
    list(pipeline.run(ListSource(frames(2))))
    assert [what for what, _ in method.log] == ["predict", "learn"] * 2
    assert pipeline.record.counts["updates_deferred"] == 0


def test_a_method_that_cannot_defer_just_does_not_learn() -> None:
    method = LevelMethod()
    pipeline = pipeline_of(method, budget_ms=1e3)
    list(pipeline.run(ListSource(late(1, by_ms=2e3))))
    assert method.log == [("predict", [0])]
    assert pipeline.record.counts["updates_deferred"] == 1


def test_idle_learns_only_while_no_newer_frame_waits() -> None:
    method = DeferringMethod()
    pipeline = pipeline_of(method, adapt="idle")
    list(pipeline.run(LiveList(frames(4), waits_during={1, 2})))
    assert [what for what, _ in method.log if what != "predict"] == ["learn", "defer", "defer", "learn"]


def test_idle_is_refused_where_a_frame_always_waits() -> None:
    source = ListSource(frames(1))
    with pytest.raises(ConfigError, match="--pace real"):
        list(pipeline_of(LevelMethod(), adapt="idle").run(source))
    assert source.closed == 1


def test_without_a_budget_no_update_is_put_off_however_late() -> None:
    method = DeferringMethod()
    list(pipeline_of(method).run(ListSource(late(3, by_ms=1e6))))
    assert [what for what, _ in method.log] == ["predict", "learn"] * 3
