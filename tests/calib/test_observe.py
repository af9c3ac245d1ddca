"""What was observed survives an interruption, and a cache that does not fit is not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moase_edge.calib import observe as module
from moase_edge.calib.observe import observe
from moase_edge.calib.products import load_graph
from tests.calib.graphs import tiny_frames, tiny_graph

TENSORS = ["images", "mid", "pooled"]


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    return load_graph(tiny_graph(tmp_path / "tiny.onnx"))


@pytest.fixture(autouse=True)
def _saved_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)


def facts(seen: Any) -> dict[str, Any]:
    return {
        name: (one.counts.tolist(), one.exponent, one.lowest, one.highest, one.channels.tolist(), one.rows)
        for name, one in seen.items()
    }


def interrupted_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the observation end as by a kill when it takes frame `count`."""
    values = module._values
    taken: list[int] = []

    def run(*arguments: Any) -> Any:
        if len(taken) == count:
            raise KeyboardInterrupt
        taken.append(1)
        return values(*arguments)

    monkeypatch.setattr(module, "_values", run)


def test_killed_half_way_and_started_again_it_sees_the_same_and_runs_no_frame_twice(
    graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, cache = tiny_frames(9), tmp_path / "cache"
    whole = observe(graph, TENSORS, frames, bins=256)
    with monkeypatch.context() as patched:
        interrupted_after(5, patched)
        with pytest.raises(KeyboardInterrupt):
            observe(graph, TENSORS, frames, bins=256, cache=cache)
    runs: list[int] = []
    values = module._values
    monkeypatch.setattr(module, "_values", lambda *arguments: (runs.append(1), values(*arguments))[1])
    resumed = observe(graph, TENSORS, frames, bins=256, cache=cache)
    assert facts(resumed) == facts(whole)
    assert len(runs) == 5  # four of nine were written before it was killed
    assert facts(observe(graph, TENSORS, frames, bins=256, cache=cache)) == facts(whole)
    assert len(runs) == 5


def test_other_frames_bins_tensors_or_weights_do_not_use_it(graph: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    frames = tiny_frames(3)
    observe(graph, TENSORS, frames, bins=256, cache=cache)
    observe(graph, TENSORS, tiny_frames(3, seed=1), bins=256, cache=cache)
    observe(graph, TENSORS, frames, bins=512, cache=cache)
    observe(graph, TENSORS[:2], frames, bins=256, cache=cache)
    observe(load_graph(tiny_graph(tmp_path / "wild.onnx", wild=True)), TENSORS, frames, bins=256, cache=cache)
    assert len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_damaged_cache_is_begun_anew(
    content: bytes | None, graph: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    whole = observe(graph, TENSORS, tiny_frames(3), bins=256, cache=cache)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-5] if content is None else content)
    assert facts(observe(graph, TENSORS, tiny_frames(3), bins=256, cache=cache)) == facts(whole)
    assert "begun anew" in caplog.text


def test_a_cache_that_cannot_be_written_is_warned_of_once_and_done_without(
    graph: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("no folder", encoding="utf-8")
    seen = observe(graph, TENSORS, tiny_frames(6), bins=256, cache=tmp_path / "cache" / "calibration")
    assert facts(seen) == facts(observe(graph, TENSORS, tiny_frames(6), bins=256))
    assert caplog.text.count("is not kept") == 1
    assert "MOASE_EDGE_CACHE" in caplog.text
