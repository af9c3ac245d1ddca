"""Run code in a fresh interpreter that lacks some packages, as a device does that has fewer of them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterable

_PREAMBLE = """
import sys


class _Blocker:
    names = {blocked!r}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by the test)", name=name)


loaded = sorted(_Blocker.names & set(sys.modules))
assert not loaded, f"loaded before they could be blocked: {{loaded}}"
sys.meta_path.insert(0, _Blocker())
"""


def run_blocked(code: str, blocked: Iterable[str], arguments: Iterable[object] = (), timeout_s: float = 60) -> str:
    """Run `code` with `blocked` packages missing.

    Args:
        code: a program; indented text is dedented.
        blocked: top-level names whose import fails with ModuleNotFoundError, as if they were not installed.
        arguments: what the program finds in `sys.argv[1:]`.
        timeout_s: after which it counts as hanging.

    Returns:
        What it printed on standard output.

    Raises:
        AssertionError: it ended with an error; shows standard error.
    """
    program = _PREAMBLE.format(blocked=set(blocked)) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
    return done.stdout
