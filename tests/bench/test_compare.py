"""Two benchmarks beside each other: paired where both saw the same frames, means where not."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moase_edge.bench.compare import compare_benchmarks
from moase_edge.bench.grid import SETTINGS, Cell
from moase_edge.errors import ConfigError, StorageError
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.spread import Spread
from moase_edge.report.tables import Table
from tests.bench.finished import Kept, finish, kept, settings_of

FRAMES = 40
TWO_PICTURES = np.repeat([3, 8], FRAMES // 2)


def answers(right: int, **changes: Any) -> Callable[[Cell], Kept]:
    """The source is always wrong; the other methods are right in so many last frames, of one domain."""
    alike = {"domain": np.zeros(FRAMES, np.int64), "domains": ("fog",), "picture": TWO_PICTURES, **changes}

    def of(cell: Cell) -> Kept:
        wrong = FRAMES if cell.method == "source" else FRAMES - right
        return kept([frame < wrong for frame in range(FRAMES)], **alike)

    return of


def line(table: Table, method: str) -> dict[str, Any]:
    (found,) = (dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0] == method)
    return found


def test_runs_on_the_same_frames_are_paired_and_pictures_resampled(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(), answers(0))
    b = finish(tmp_path / "b", settings_of(), answers(20))
    comparison = compare_benchmarks(a, b)
    assert comparison.notes == []
    (table,) = comparison.tables
    assert str(a) in table.title
    assert str(b) in table.title
    edge = line(table, "edge")
    assert (edge["mean, A"].mean, edge["mean, B"].mean) == (100.0, 50.0)
    # One of two pictures was mended: a draw has both, or one of them twice.
    assert edge["change"] == Difference(-50.0, -100.0, 0.0)
    assert edge["largest change in a domain"] == "fog -50.0"
    assert line(table, "source")["change"] == Difference(0.0, 0.0, 0.0)
    swapped = compare_benchmarks(b, a).tables[0]
    assert line(swapped, "edge")["change"] == Difference(50.0, 0.0, 100.0)


@pytest.mark.parametrize(
    ("seeds", "changes"),
    [
        ((1,), {}),
        ((0, 1), {}),
        ((0,), {"picture": TWO_PICTURES + 1}),
        ((0,), {"label": np.ones(FRAMES, np.int64), "prediction": np.zeros(FRAMES, np.int64)}),
        ((0,), {"domains": ("snow",)}),
    ],
)
def test_runs_on_other_frames_are_compared_by_their_means_alone(
    seeds: tuple[int, ...], changes: dict[str, Any], tmp_path: Path
) -> None:
    a = finish(tmp_path / "a", settings_of(), answers(20))
    b = finish(tmp_path / "b", settings_of(seeds=seeds), answers(40, **changes))
    edge = line(compare_benchmarks(a, b).tables[0], "edge")
    change = edge["change"]
    assert change.points == edge["mean, B"].mean - edge["mean, A"].mean
    assert math.isnan(change.low)
    assert math.isnan(change.high)


def test_seeds_in_another_order_are_the_same_seeds(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(seeds=(0, 1)), answers(0))
    b = finish(tmp_path / "b", settings_of(seeds=(1, 0)), answers(40))
    assert line(compare_benchmarks(a, b).tables[0], "edge")["change"] == Difference(-100.0, -100.0, -100.0)


def test_a_method_or_a_protocol_that_one_lacks_is_not_compared(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(protocols=("continual", "mixed"), methods=("edge", "t3a")), answers(0))
    b = finish(tmp_path / "b", settings_of(protocols=("clips", "mixed"), methods=("lame", "edge")), answers(20))
    (table,) = compare_benchmarks(a, b).tables
    assert table.title.startswith("mixed: ")
    assert [row[0] for row in table.rows] == ["source", "edge", "t3a", "lame"]
    t3a = line(table, "t3a")
    assert isinstance(t3a["mean, B"], Spread)
    assert math.isnan(t3a["mean, B"].mean)
    assert math.isnan(t3a["change"].points)


def test_settings_weights_and_version_that_differ_are_listed_each_by_its_name(tmp_path: Path) -> None:
    plain = settings_of()
    other = plain.model_copy(update={"severity": 3, "adapt": plain.adapt.model_copy(update={"lr": 0.25})})
    a = finish(tmp_path / "a", plain, answers(0))
    b = finish(tmp_path / "b", other, answers(0), checkpoint_sha256="1" * 64)
    begun = json.loads((b / SETTINGS).read_text())
    (b / SETTINGS).write_text(json.dumps({**begun, "version": "0.0.1"}))
    notes = dict(note.split(": ", 1) for note in compare_benchmarks(a, b).notes)
    assert set(notes) == {"severity", "adapt.lr", "checkpoint_sha256", "version"}
    assert notes["severity"] == "A 5, B 3"
    assert notes["adapt.lr"].endswith("B 0.25")
    assert notes["version"].endswith("B 0.0.1")


def test_no_protocol_in_common_names_those_of_both(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(protocols=("continual",)), answers(0))
    b = finish(tmp_path / "b", settings_of(protocols=("mixed", "clips")), answers(0))
    with pytest.raises(
        ConfigError, match=r"ran continual and .* ran mixed, clips: there is no protocol in common"
    ):
        compare_benchmarks(a, b)


def test_a_run_that_is_not_finished_is_refused_and_names_what_is_missing(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(), answers(0))
    b = finish(tmp_path / "b", settings_of(), answers(0))
    shutil.rmtree(Cell("continual", 0, "edge").files(b).folder)
    with pytest.raises(ConfigError, match=r"1 cells of .*b are not done, such as edge under continual"):
        compare_benchmarks(a, b)


def test_what_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(), answers(0))
    (tmp_path / "file").write_text("")
    for other in (tmp_path / "absent", tmp_path, tmp_path / "file"):
        with pytest.raises(ConfigError, match="holds no benchmark"):
            compare_benchmarks(a, other)


def test_a_damaged_folder_is_refused_and_names_the_file(tmp_path: Path) -> None:
    a = finish(tmp_path / "a", settings_of(), answers(0))
    b = finish(tmp_path / "b", settings_of(), answers(0))
    (b / SETTINGS).write_text("{")
    with pytest.raises(StorageError, match=r"settings\.json is damaged"):
        compare_benchmarks(a, b)
    (b / SETTINGS).write_text('{"methods": ["edge"], "of": "another version"}')
    with pytest.raises(ConfigError, match="of: unknown"):
        compare_benchmarks(a, b)
