"""What the processes of tests do. Imported by each of them: light on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from time import monotonic, sleep

LONG_S = 600.0


def take_all(folder: Path, numbers: Queue[int]) -> None:
    """A file for each number that this process took; waits for the other process, so that both take some."""
    (folder / f"process-{os.getpid()}").touch()
    while len(list(folder.glob("process-*"))) < 2:
        sleep(0.01)
    try:
        while True:
            number = numbers.get_nowait()
            (folder / f"number-{number}").open("x").close()
    except Empty:
        return


def wait_long(folder: Path) -> None:
    """Say that this process is there, then do nothing for minutes."""
    (folder / f"process-{os.getpid()}").touch()
    sleep(LONG_S)


def be_killed() -> None:
    """As the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def raise_error(text: str) -> None:
    """An error of the project, which has to come back whole."""
    from moase_edge.errors import ConfigError

    raise ConfigError(text)


def children_of(pid: int) -> list[int]:
    """Processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process is running; one that nobody waits for any more is not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition: Callable[[], object], *, seconds: float, what: str) -> None:
    """Poll until `condition()` is true.

    Raises:
        AssertionError: it was not for so long.
    """
    until = monotonic() + seconds
    while not condition():
        assert monotonic() < until, f"waited {seconds} s for {what}"
        sleep(0.02)
