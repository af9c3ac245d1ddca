"""The grid: every cell once, kept as soon as it is done, never mixed with other settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moase_edge.bench.grid import Cell, cells_of, load_cells, prepare_folder, run_grid
from moase_edge.bench.protocol_choice import parse_protocol
from moase_edge.config.bench import BenchSettings
from moase_edge.errors import ConfigError

TINY = BenchSettings(
    methods=("recentre-0.9", "edge"),
    corruptions=("fog", "contrast"),
    pictures=4,
    source_images=20,
    batch_size=4,
    seeds=(0, 1),
)


def test_the_source_comes_first_and_only_once() -> None:
    settings = TINY.model_copy(update={"methods": ("edge", "source"), "seeds": (0,)})
    assert [cell.method for cell in cells_of(settings)] == ["source", "edge"]


def test_unknown_methods_and_protocols_are_refused_with_the_right_names() -> None:
    with pytest.raises(ConfigError, match="tent"):
        cells_of(TINY.model_copy(update={"methods": ("tant",)}))
    with pytest.raises(ConfigError, match="continual"):
        cells_of(TINY.model_copy(update={"protocols": ("continuall",)}))


def test_protocol_options_are_read_and_unknown_ones_refused() -> None:
    choice = parse_protocol("clips:frames=6,order=shuffled")
    assert (choice.stream, choice.options) == ("clips", {"frames": 6, "order": "shuffled"})
    assert parse_protocol("latency_aware").stream == "single_frame"
    over_clips = parse_protocol("latency_aware:over=clips,frames=6")
    assert (over_clips.stream, over_clips.options, over_clips.latency_aware) == ("clips", {"frames": 6}, True)
    with pytest.raises(ConfigError, match="frames"):
        parse_protocol("clips:lenght=6")


def test_a_folder_of_other_settings_is_refused_and_names_what_differs(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "out", TINY)
    prepare_folder(tmp_path / "out", TINY)
    with pytest.raises(ConfigError, match="severity"):
        prepare_folder(tmp_path / "out", TINY.model_copy(update={"severity": 3}))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="no benchmark"):
        prepare_folder(tmp_path, TINY)


@pytest.mark.slow
def test_results_do_not_depend_on_jobs_and_are_taken_up_where_they_stopped(tmp_path: Path) -> None:
    records = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        prepare_folder(out, TINY)
        run_grid(TINY, out, jobs=jobs, on_progress=lambda done: None)
        records.append([record for _, record, _, _ in load_cells(TINY, out)])
    for one, two in zip(*records, strict=True):
        for name, array in one.arrays().items():
            assert np.array_equal(array, two.arrays()[name], equal_nan=name == "confidence"), name
    kept = Cell("continual", 0, "edge").files(tmp_path / "1").folder / "measured.json"
    before = kept.stat().st_mtime_ns
    (Cell("continual", 1, "edge").files(tmp_path / "1").folder / "measured.json").unlink()
    run_grid(TINY, tmp_path / "1", jobs=1, on_progress=lambda done: None)
    assert kept.stat().st_mtime_ns == before
    assert Cell("continual", 1, "edge").files(tmp_path / "1").done
