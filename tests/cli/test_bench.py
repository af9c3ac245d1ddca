"""`bench` on the command line: names, what is said and in which order, how it is interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from moase_edge.bench import benchmark
from moase_edge.bench.grid import cells_of
from moase_edge.bench.methods import METHODS
from moase_edge.cli import bench_command
from moase_edge.cli.bench_command import corruptions_in, default_folder, methods_in, protocols_in, seeds_in
from moase_edge.cli.bench_view import BenchView
from moase_edge.config.bench import DEFAULT_CORRUPTIONS
from moase_edge.data.corruptions import COMMON_CORRUPTIONS, CORRUPTIONS
from moase_edge.data.protocols import PROTOCOLS
from moase_edge.data.shifts import SHIFTS
from moase_edge.errors import ConfigError
from tests.bench.finished import finish, kept, settings_of
from tests.bench.workers import alive, children_of, wait_until
from tests.cli.benches import TINY, ends, run_here
from tests.cli.commands import start


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("continual", ("continual",)),
        ("continual,clips:frames=6,order=shuffled", ("continual", "clips:frames=6,order=shuffled")),
        ("clips:frames=6,order=class,mixed", ("clips:frames=6,order=class", "mixed")),
        (" mixed , jumps:every=5 ", ("mixed", "jumps:every=5")),
        ("clips:frames=2,clips:frames=3", ("clips:frames=2", "clips:frames=3")),
        ("mixed,mixed", ("mixed",)),
        ("latency_aware:over=clips,frames=6,mixed", ("latency_aware:over=clips,frames=6", "mixed")),
        ("all", (*PROTOCOLS, "latency_aware")),
        ("mixed,all", tuple(dict.fromkeys(("mixed", *PROTOCOLS, "latency_aware")))),
        ("", ()),
    ],
)
def test_protocols_keep_their_options(text: str, found: tuple[str, ...]) -> None:
    assert protocols_in(text) == found


def test_methods_by_name_and_by_group_are_those_that_can_run() -> None:
    assert methods_in("edge, tent,edge", source_images=0) == ("edge", "tent")
    split = methods_in("split", source_images=100)
    assert "recentre-0.9" in split
    assert not any(METHODS[name].whole_network for name in split)
    assert set(methods_in("all", source_images=100)) == set(METHODS) - {"batch-statistics"}
    without = methods_in("all", source_images=0)
    assert {"recentre-0.9", "recentre-0.995", "eata"} & set(without) == set()
    assert methods_in("tent,split", source_images=100) == ("tent", *split)


def test_domains_by_name_and_by_group() -> None:
    assert corruptions_in("fog,clean") == ("fog", "clean")
    assert corruptions_in("default") == DEFAULT_CORRUPTIONS
    assert corruptions_in("common") == tuple(COMMON_CORRUPTIONS)
    assert corruptions_in("all") == tuple(CORRUPTIONS)
    assert corruptions_in("shifts") == tuple(SHIFTS)
    assert corruptions_in("fog,common")[:2] == ("fog", "gaussian_noise")


def test_seeds_are_whole_numbers() -> None:
    assert seeds_in("2, 0,2") == (2, 0)
    for text in ("a", "0.5", "1;2"):
        with pytest.raises(ConfigError, match="whole numbers from 0 on"):
            seeds_in(text)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """One benchmark from start to end: its folder, standard output and standard error."""
    out = tmp_path_factory.mktemp("bench") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "run_grid", run_here)
        code, shown, said = ends(*TINY, "--methods", "recentre-0.9", "--protocols", "continual", "--out", out)
    assert code == 0, said
    return out, shown, said


def test_source_error_normalisation_subset_and_seeds_are_printed_first(ran: tuple[Path, str, str]) -> None:
    out, shown, _ = ran
    lines = shown.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["source error", "normalisation", "subset", "seeds"]
    assert lines[2] == ("subset: each domain shows 4 of the 901 pictures of digits; 20 others are source images")
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert "continual: 8 frames a seed" in shown
    assert "\x1b" not in shown


def test_without_a_terminal_a_line_a_cell_tells_how_far_it_is(ran: tuple[Path, str, str]) -> None:
    said = ran[2].splitlines()
    assert [line.split("  about ")[0].strip() for line in said] == [
        "1/2  continual, seed 0, source",
        "2/2  continual, seed 0, recentre-0.9",
    ]
    assert said[-1].endswith("about 0 s left")


def test_the_same_command_takes_up_what_is_done_and_shows_it_again(ran: tuple[Path, str, str]) -> None:
    out, shown, _ = ran
    before = (out / "bench.json").read_bytes()
    # Nothing is left to run, so no process is started.
    code, again, said = ends(*TINY, "--methods", "recentre-0.9", "--protocols", "continual", "--out", out)
    assert (code, again) == (0, shown)
    assert said == "2 of 2 cells were finished before\n"
    assert (out / "bench.json").read_bytes() == before


def test_two_runs_are_compared_and_what_differs_comes_first(tmp_path: Path) -> None:
    plain = settings_of()
    a = finish(tmp_path / "a", plain, lambda cell: kept([True, True]))
    b = finish(
        tmp_path / "b",
        plain.model_copy(update={"severity": 3}),
        lambda cell: kept([cell.method == "source"] * 2),
    )
    code, shown, _ = ends("bench", "--compare", a, b)
    assert code == 0
    assert shown.splitlines()[0] == "severity: A 5, B 3"
    assert "-100.0" in shown
    (edge,) = (line for line in shown.splitlines() if line.strip().startswith("edge"))
    assert edge.split()[1:4] == ["100.0", "0.0", "-100.0"]


def test_all_names_are_listed() -> None:
    code, shown, said = ends("bench", "--list")
    assert (code, said) == (0, "")
    words = set(shown.replace(",", " ").split())
    assert {*METHODS, *PROTOCOLS, "latency_aware", "clean"} <= words
    # Long lists are wrapped, and a name may be.
    assert {"fog", "every=20", "frames=12"} <= words


def test_each_command_has_a_folder_of_its_own() -> None:
    plain = settings_of()
    folders = {default_folder(plain), default_folder(plain), default_folder(settings_of(severity=3))}
    assert len(folders) == 2
    assert all(folder.parent.name == "reports" for folder in folders)


def test_progress_counts_each_cell_and_leaves_out_time_before_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells = cells_of(settings_of(methods=("edge", "t3a"), seeds=(0, 1)))
    with BenchView(cells) as view:
        view.progress(cells[:2])
        view.progress(cells[:2])
        view.progress(cells[:5])
        view.progress(cells)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 of 6 cells were finished before"
    assert [line.split()[0] for line in said[1:]] == ["3/6", "4/6", "5/6", "6/6"]
    assert "seed 0, t3a" in said[1]
    assert said[-1].endswith("about 0 s left")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_its_code_and_says_how_to_go_on(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_command, "run_benchmark", lambda *given, **named: signal.raise_signal(number))
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        bench_command.measure({"methods": ("edge",)}, tmp_path, jobs=1)
    assert end.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert f"finished cells are kept in {tmp_path}" in capfd.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_a_run_and_the_same_command_completes_it(tmp_path: Path) -> None:
    """As a terminal sends it: to the processes that work, too."""
    out = tmp_path / "out"
    command = [*TINY, "--pictures", "300", "--methods", "edge,t3a,lame", "--protocols", "continual"]
    arguments = [*command, "--seeds", "0,1", "--jobs", "2", "--out", out]
    with start(arguments, start_new_session=True) as process:
        wait_until(lambda: list(out.glob("cells/*/measured.json")), seconds=300, what="a cell")
        children = children_of(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        shown, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues there" in shown
    assert "Traceback" not in said
    wait_until(lambda: not any(map(alive, children)), seconds=60, what="the children's end")
    assert not (out / "bench.json").exists()
    with start(arguments) as process:
        shown, said = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert "of 8 cells were finished before" in said
    assert shown.startswith("source error: ")
