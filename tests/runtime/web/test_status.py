"""What is told of a run, without a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moase_edge.runtime.web.history import History
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.prometheus import exposition
from moase_edge.runtime.web.status import answer_to, controls_of, finite, health_of, phase_of, status_of
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of
from tests.runtime.stateful import CountingMethod, snapshots_in


def live_of(method: LevelMethod, *, adapt: str = "every", count: int = 1) -> Live:
    """A run of so many frames that was watched from its beginning."""
    source = ListSource(frames(count))
    live = Live(pipeline_of(method, adapt=adapt, labels=["a", "b", "c"]), source)
    live.pipeline.on_batch = live.learned
    for result in live.pipeline.run(source):
        live.answered(result)
    return live


def reasons(live: Live) -> dict[str, str | None]:
    return {action: control.reason for action, control in controls_of(live).items()}


def test_before_the_first_answer_a_run_is_starting_and_not_healthy() -> None:
    live = live_of(CountingMethod(), count=0)
    assert phase_of(live) == "starting"
    assert health_of(live, 10.0).reason == "no frame was answered yet"
    assert status_of(live, History()).newest is None
    assert "moase_edge_frames_total 0" in exposition(live, History())


def test_a_frozen_run_says_that_nothing_is_learned() -> None:
    told = reasons(live_of(LevelMethod(), adapt="off"))
    assert told["hold"] == told["resume"] == "--adapt off learns nothing"
    assert told["reset"] == told["rollback"] == told["snapshot"] == "--adapt off has nothing learned"


def test_snapshots_that_another_run_may_write_are_not_rolled_back(tmp_path: Path) -> None:
    method = CountingMethod()
    live = live_of(method)
    live.pipeline.controls.snapshots = snapshots_in(tmp_path, method)
    assert (reasons(live)["snapshot"], reasons(live)["rollback"]) == (None, "there is no snapshot yet")
    live.pipeline.controls.snapshots.writes = False
    assert "keeps no snapshots" in str(reasons(live)["rollback"])


def test_once_a_run_has_ended_no_button_can_be_pressed() -> None:
    live = live_of(CountingMethod())
    live.ended = "the source ended"
    assert set(reasons(live).values()) == {"the run has ended"}
    assert health_of(live, 1e9).reason == "the source ended"


def test_a_frozen_answer_that_was_not_asked_is_told_as_such() -> None:
    live = live_of(LevelMethod(has_frozen_answer=False))
    assert live.newest is not None
    answer = answer_to(live.newest[0], live.pipeline.labels)
    assert (answer.label, answer.frozen_prediction, answer.frozen_label, answer.frozen_confidence) == (
        "a",
        None,
        None,
        None,
    )


def test_numbers_that_json_cannot_carry_become_null() -> None:
    assert finite({"a": float("nan"), "b": float("inf"), "c": np.float32(0.5)}) == {"a": None, "b": None, "c": 0.5}
    live = live_of(CountingMethod())
    assert live.newest is not None
    broken = replace(live.newest[0], frozen_logits=np.array([np.inf, 0, 0], np.float32), frozen_prediction=1)
    assert answer_to(broken, ("a", "b", "c")).frozen_confidence is None


def test_every_batch_is_told_once_with_its_update() -> None:
    live = live_of(CountingMethod(), count=5)
    told = live.take()
    assert [moment.frame for moment in told] == [0, 1, 2, 3, 4]
    assert all(moment.update == {"loss": 0.5} for moment in told)
    assert live.take() == []
    assert live.counts.frames["frames"] == live.counts.frames["updates"] == 5


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_labels_of_metrics_are_escaped(name: str) -> None:
    live = live_of(CountingMethod())
    live.source.name = name
    (line,) = [line for line in exposition(live, History()).splitlines() if line.startswith("moase_edge_info")]
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert f'source="{escaped}"' in line
