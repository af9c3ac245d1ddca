"""The grid: every cell once, kept as soon as it is done, never mixed with other settings."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest

from moase_edge.bench import bench_report, grid
from moase_edge.bench.bench_report import write_bench_report
from moase_edge.bench.benchmark import load_benchmark, run_benchmark
from moase_edge.bench.grid import Cell, begun_with, cells_of, prepare_folder, run_grid, run_one, tasks_of
from moase_edge.bench.protocol_choice import parse_protocol
from moase_edge.bench.workbench import Workbench
from moase_edge.config.base import load_settings
from moase_edge.config.bench import BenchSettings
from moase_edge.errors import AdaptationError, ConfigError, StorageError
from moase_edge.report.files import read_json, write_json
from tests.bench.finished import finish, kept
from tests.bench.workers import alive, children_of, wait_until

TINY = BenchSettings(
    methods=("recentre-0.9", "edge"),
    corruptions=("fog", "contrast"),
    pictures=4,
    source_images=20,
    batch_size=4,
    seeds=(0, 1),
)

# Long enough to be killed in its midst.
LONG = TINY.model_copy(update={"methods": ("edge", "official-split", "paper-split", "t3a"), "pictures": 400})
ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from moase_edge.bench.benchmark import run_benchmark
from moase_edge.config.bench import BenchSettings

settings = BenchSettings.model_validate_json(sys.argv[2])
run_benchmark(settings, Path(sys.argv[1]), jobs=2, on_progress=lambda done: None)
"""


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


def finish_one(out: Path) -> None:
    Cell("continual", 0, "source").files(out).save(*kept([True]))


def test_a_folder_of_other_settings_is_refused_and_names_what_differs(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "out", TINY)
    finish_one(tmp_path / "out")
    prepare_folder(tmp_path / "out", TINY)
    with pytest.raises(ConfigError, match=r"other settings \(severity, seeds differ\)"):
        prepare_folder(tmp_path / "out", TINY.model_copy(update={"severity": 3, "seeds": (0,)}))
    assert begun_with(tmp_path / "out") == TINY


def test_where_nothing_was_finished_other_settings_take_the_folder_over(tmp_path: Path) -> None:
    """Such as the right name of a data set after a mistyped one."""
    mended = TINY.model_copy(update={"severity": 3})
    prepare_folder(tmp_path / "out", TINY)
    prepare_folder(tmp_path / "out", mended)
    assert begun_with(tmp_path / "out") == mended


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_folder(tmp_path, TINY)
    finish_one(tmp_path)
    monkeypatch.setattr(grid, "__version__", "99.0")
    with pytest.raises(ConfigError, match=r"\(version differ\)"):
        prepare_folder(tmp_path, TINY)


def test_other_weights_in_a_file_of_the_same_name_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    settings = TINY.model_copy(update={"checkpoint": weights})
    weights.write_bytes(b"one")
    prepare_folder(tmp_path / "out", settings)
    finish_one(tmp_path / "out")
    prepare_folder(tmp_path / "out", settings)
    assert begun_with(tmp_path / "out") == settings
    weights.write_bytes(b"two")
    with pytest.raises(ConfigError, match=r"\(checkpoint_sha256 differ\)"):
        prepare_folder(tmp_path / "out", settings)


@pytest.mark.parametrize(("text", "words"), [("{", "is damaged"), ("", "is damaged"), ("[]", "holds a list")])
def test_damaged_settings_are_refused_and_kept(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(text)
    for use in (lambda: prepare_folder(tmp_path, TINY), lambda: begun_with(tmp_path)):
        with pytest.raises(StorageError, match=rf"settings\.json {words}"):
            use()
    assert (tmp_path / "settings.json").read_text() == text


def test_a_seed_below_0_is_refused_before_anything_is_made() -> None:
    with pytest.raises(ConfigError, match=r"seeds\.1: Input should be greater than or equal to 0"):
        load_settings(BenchSettings, {"methods": ("edge",), "seeds": (0, -1)})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="no benchmark"):
        prepare_folder(tmp_path, TINY)


def test_what_runs_on_the_split_stays_together_and_whole_networks_go_alone_the_costliest_first() -> None:
    settings = TINY.model_copy(
        update={"methods": ("tent", "edge", "cotta", "t3a"), "protocols": ("mixed", "clips")}
    )
    tasks = tasks_of(cells_of(settings))
    groups = [(protocol, seed) for protocol in ("mixed", "clips") for seed in (0, 1)]
    assert [(task[0].protocol, task[0].seed) for task in tasks] == [group for group in groups for _ in range(3)]
    for place in range(0, len(tasks), 3):
        methods = [[cell.method for cell in task] for task in tasks[place : place + 3]]
        assert methods == [["cotta"], ["tent"], ["source", "edge", "t3a"]]
    assert sorted(map(str, (cell for task in tasks for cell in task))) == sorted(map(str, cells_of(settings)))


def test_of_what_is_partly_done_only_the_rest_makes_tasks() -> None:
    cells = [cell for cell in cells_of(TINY) if cell.method == "edge" and cell.seed == 1]
    assert tasks_of(cells) == [(Cell("continual", 1, "edge"),)]
    assert tasks_of([]) == []


@pytest.mark.parametrize(
    "alike",
    [
        ("dirichlet:delta=1e-3", "dirichlet:delta=1e+3"),
        ("clips:frames=6", "clips-frames-6"),
        ("clips:frames=6,order=class", "clips:frames=6:order=class"),
        ("latency_aware", "latency-aware"),
    ],
)
def test_protocols_that_look_alike_in_a_file_name_have_folders_of_their_own(
    alike: tuple[str, str], tmp_path: Path
) -> None:
    folders = {Cell(protocol, 0, "edge").files(tmp_path).folder.name for protocol in alike}
    assert len(folders) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,120}", name) for name in folders)


def test_a_long_protocol_has_a_name_that_a_file_system_takes(tmp_path: Path) -> None:
    options = ",".join(f"frames={number}" for number in range(2, 200))
    files = Cell(f"clips:{options}", 0, "edge").files(tmp_path)
    files.save(*kept([True]))
    assert files.done


@pytest.mark.parametrize("name", ["record.npz", "clean.npz", "measured.json"])
def test_a_file_that_is_cut_is_named_and_once_deleted_the_cell_is_run_again(name: str, tmp_path: Path) -> None:
    files = Cell("continual", 0, "edge").files(tmp_path)
    files.save(*kept([True, False]))
    record, clean, measured = files.load()
    assert (record.wrong.tolist(), len(clean), measured.wall_s) == ([True, False], 4, 1.5)
    path = files.folder / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StorageError, match=rf"{re.escape(str(path))}.*[Dd]elete it"):
        files.load()
    path.unlink()
    assert not files.done


def test_what_a_method_counted_is_kept_and_a_method_that_counts_nothing_leaves_no_file(tmp_path: Path) -> None:
    counting, silent = (Cell("continual", 0, name).files(tmp_path) for name in ("edge", "source"))
    counting.save(*kept([True])[:3], {"domains_found": 2, "rollbacks": 0})
    silent.save(*kept([True]))
    assert counting.counts() == {"domains_found": 2, "rollbacks": 0}
    assert silent.counts() == {}
    assert not (silent.folder / "counts.json").exists()
    assert silent.done


@pytest.mark.parametrize("text", ["{}", '{"ms_by_stage": 3}', '{"ms_by_stage": {"engine": []}}'])
def test_what_was_measured_is_refused_where_it_is_something_else(text: str, tmp_path: Path) -> None:
    files = Cell("continual", 0, "edge").files(tmp_path)
    files.save(*kept([True]))
    (files.folder / "measured.json").write_text(text)
    with pytest.raises(StorageError, match="delete it, and the cell is run again"):
        files.load()


def test_a_time_that_was_not_measured_comes_back_as_none(tmp_path: Path) -> None:
    files = Cell("continual", 0, "edge").files(tmp_path)
    files.save(*kept([True], ms=math.nan, peak_mib=None))
    measured = files.load()[2]
    assert math.isnan(measured.ms_by_stage["engine"])
    assert measured.peak_memory_mib is None


def test_nothing_is_started_where_every_cell_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path, TINY, lambda cell: kept([True]))
    monkeypatch.setattr(grid, "run_in_processes", None)
    told: list[int] = []
    run_grid(TINY, tmp_path, jobs=2, on_progress=lambda done: told.append(len(done)))
    assert told == [len(cells_of(TINY))]


def test_a_process_that_was_ended_from_outside_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def killed(jobs: int, *arguments: object) -> Iterator[set[Future[None]]]:
        future: Future[None] = Future()
        future.set_exception(BrokenProcessPool("terminated abruptly"))
        yield {future}

    monkeypatch.setattr(grid, "run_in_processes", killed)
    monkeypatch.setattr(grid, "numbers_to_take", lambda count: nullcontext(Queue()))
    with pytest.raises(AdaptationError, match="same command again, with fewer --jobs"):
        run_grid(TINY, tmp_path, jobs=1, on_progress=lambda done: None)


@pytest.fixture(scope="module")
def bench() -> Iterator[Workbench]:
    with closing(Workbench(TINY)) as opened:
        yield opened


def test_the_same_seed_gives_the_same_json_in_whatever_order_cells_are_run(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As processes would take them; `measured` aside."""
    monkeypatch.setattr(bench_report, "plots_missing", lambda: "no plots")
    found = []
    for name, turn in (("forward", 1), ("backward", -1)):
        out = tmp_path / name
        prepare_folder(out, TINY)
        write_json(out / grid.SUBJECT, bench.facts())
        for cell in cells_of(TINY)[::turn]:
            run_one(bench, cell, out)
        write_bench_report(out, load_benchmark(out))
        found.append(read_json(out / "bench.json"))
    assert found[0].pop("measured").keys() == found[1].pop("measured").keys()
    assert found[0] == found[1]
    edge = found[0]["protocols"]["continual"]["methods"]["edge"]
    assert edge["updates"] > 0
    assert edge["counts"]["0"].keys() >= {"domains_found", "domain_switches", "rollbacks", "frames_frozen"}


def test_the_engine_can_be_steered_and_gives_the_same_answer_as_one_that_cannot(bench: Workbench) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    with closing(Workbench(TINY.model_copy(update={"steer": False}))) as plain:
        found, expected = bench.engine.run(images), plain.engine.run(images)
        moved = bench.engine.run(images, found["token_means"])
    assert found.keys() - expected.keys() == {"token_means"}
    assert all(np.array_equal(found[name], value) for name, value in expected.items())
    assert not np.array_equal(moved["logits"], found["logits"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocols": ("continual", "clips:frames=1")}, "frames is 1"),
        ({"protocols": ("continual", "clips:order=sideways")}, "no order 'sideways'"),
        ({"protocols": ("continual", "gradual"), "corruptions": ("fog", "clean")}, "'clean' has no severities"),
        ({"corruptions": ("fog", "foog")}, "fog"),
        ({"source_images": 901}, "901 of 901 pictures"),
        ({"data": "absent"}, "there is no folder 'absent'"),
    ],
)
def test_a_fault_of_the_last_stream_is_found_before_the_first_cell(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Workbench(TINY.model_copy(update=changes))


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["a child", "the parent"])
def test_after_a_kill_nothing_runs_on_and_the_next_run_completes(whom: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(tmp_path), LONG.model_dump_json()]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True) as parent:
        wait_until(lambda: list(tmp_path.glob("cells/*/measured.json")), seconds=300, what="a cell")
        children = children_of(parent.pid)
        # The first two are the resource tracker and the process that hands numbers out.
        os.kill(parent.pid if whom == "the parent" else children[2], signal.SIGKILL)
        assert parent.wait(60) != 0
        wait_until(lambda: not any(map(alive, children)), seconds=60, what="the children's end")
        assert parent.stderr is not None
        said = parent.stderr.read()
    if whom == "a child":
        assert "same command again, with fewer --jobs" in said
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/measured.json")}
    assert 0 < len(before) < len(cells_of(LONG))
    report, page = run_benchmark(LONG, tmp_path, jobs=1, on_progress=lambda done: None)
    assert page.is_file()
    assert report.methods("continual") == ["source", *LONG.methods]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


@pytest.mark.slow
def test_results_do_not_depend_on_jobs_and_are_taken_up_where_they_stopped(tmp_path: Path) -> None:
    found = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        run_benchmark(TINY, out, jobs=jobs, on_progress=lambda done: None)
        found.append(read_json(out / "bench.json"))
    assert found[0].pop("measured") != found[1].pop("measured")
    assert found[0] == found[1]
    kept = Cell("continual", 0, "edge").files(tmp_path / "1").folder / "measured.json"
    before = kept.stat().st_mtime_ns
    (Cell("continual", 1, "edge").files(tmp_path / "1").folder / "measured.json").unlink()
    run_grid(TINY, tmp_path / "1", jobs=1, on_progress=lambda done: None)
    assert kept.stat().st_mtime_ns == before
    assert Cell("continual", 1, "edge").files(tmp_path / "1").done
