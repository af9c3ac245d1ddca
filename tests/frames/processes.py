"""The processes that a test has started, and waiting for what they do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.frames.servers import PATIENCE_S


def children() -> set[int]:
    """Processes that this one has started and that are still there, zombies too.

    Not that of `multiprocessing`, which other tests in this process may have started and which stays.
    """
    own = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    tasks = own.parent.parent.glob("*/children")
    started = {int(pid) for task in tasks for pid in task.read_text().split()}
    return {pid for pid in started if "multiprocessing.resource_tracker" not in _command(pid)}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone meanwhile
        return ""


def held() -> tuple[set[int], int, set[str]]:
    """Children, open files, and threads of this process."""
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    return children(), files, {thread.name for thread in threading.enumerate()}


def the_child() -> int:
    """The only one."""
    (pid,) = children()
    return pid


def is_gone(pid: int) -> bool:
    """Where nobody adopts orphans, as in some containers, one that ended stays listed as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.01)
