"""Processes of a benchmark: each task once, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from time import monotonic

import pytest

from moase_edge.bench.processes import numbers_to_take, run_in_processes
from moase_edge.errors import ConfigError
from tests.bench import workers

ROOT = Path(__file__).parents[2]
PARENT = """
import sys
from concurrent.futures import wait
from pathlib import Path
from moase_edge.bench.processes import numbers_to_take, run_in_processes
from tests.bench.workers import wait_long

folder = Path(sys.argv[1])
print("begins", flush=True)
with numbers_to_take(3), run_in_processes(2, wait_long, folder) as running:
    (folder / "started").touch()
    wait(running)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process, in a session of its own, that starts two others and the one that hands numbers out."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def test_each_number_is_taken_once_by_one_of_the_processes(tmp_path: Path) -> None:
    with numbers_to_take(20) as numbers, run_in_processes(2, workers.take_all, tmp_path, numbers) as running:
        for future in running:
            future.result()
    assert len(list(tmp_path.glob("process-*"))) == 2
    assert len(list(tmp_path.glob("number-*"))) == 20


def test_an_error_of_a_process_comes_back_and_a_killed_one_is_told_apart() -> None:
    with pytest.raises(ConfigError, match="no such corruption"):
        with run_in_processes(1, workers.raise_error, "no such corruption") as running:
            for future in running:
                future.result()
    with pytest.raises(BrokenProcessPool):
        with run_in_processes(1, workers.be_killed) as running:
            for future in running:
                future.result()


def test_processes_are_ended_where_the_block_is_left_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        with run_in_processes(1, workers.wait_long, tmp_path):
            workers.wait_until(lambda: list(tmp_path.iterdir()), seconds=60, what="the process")
            began_s = monotonic()
            sys.exit(130)
    assert monotonic() - began_s < 60
    (name,) = tmp_path.iterdir()
    assert not workers.alive(int(name.name.partition("-")[2]))


def test_a_parent_that_is_killed_takes_its_processes_along(parent: subprocess.Popen[str], tmp_path: Path) -> None:
    workers.wait_until(lambda: len(list(tmp_path.glob("process-*"))) == 2, seconds=60, what="two processes")
    children = workers.children_of(parent.pid)
    assert len(children) >= 3
    parent.kill()
    parent.wait()
    workers.wait_until(lambda: not any(map(workers.alive, children)), seconds=60, what="the children's end")


@pytest.mark.parametrize("moment", ["begins", "started"])
def test_ctrl_c_is_heard_by_the_parent_alone(moment: str, parent: subprocess.Popen[str], tmp_path: Path) -> None:
    """A terminal sends it to all of them, also to one that has not imported anything yet."""
    if moment == "begins":
        assert parent.stdout is not None
        parent.stdout.readline()
    else:
        workers.wait_until((tmp_path / "started").exists, seconds=60, what="the start")
    children = workers.children_of(parent.pid)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode in (1, -signal.SIGINT, 130)
    assert said.count("Traceback") <= 2
    assert "Process Sync" not in said
    assert "Process Spawn" not in said
    assert "spawn_main" not in said
    workers.wait_until(lambda: not any(map(workers.alive, children)), seconds=60, what="the children's end")
