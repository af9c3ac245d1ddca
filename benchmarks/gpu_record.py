"""The record of a benchmark that may be ended at any time: written after each engine, and gone on with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from moase_edge.errors import ConfigError
from moase_edge.report.files import read_json, write_json
from moase_edge.report.plain import plain_json

UNFINISHED = "the process ended while this engine was measured; the same command tries it again, behind all others"


class Progress:
    """What was measured so far, in a file that is always whole.

    Args:
        path: of the record; one that is there is gone on with. None keeps it in memory.
        setup: what must be the same for figures to stand in one record.

    Raises:
        ConfigError: the record that is there is of something else.
        StorageError: it cannot be read.
    """

    def __init__(self, path: Path | None, setup: dict[str, Any]) -> None:
        self._path, plain = path, plain_json(setup)
        self.record: dict[str, Any] = {"benchmark": "gpu", "setup": plain, "engines": {}}
        if path is not None and path.exists():
            self.record = read_json(path)
            self._refuse_another(path, plain)

    @property
    def engines(self) -> dict[str, Any]:
        """Entries by name."""
        found: dict[str, Any] = self.record["engines"]
        return found

    def to_do(self, names: Iterable[str], *, again: bool) -> list[str]:
        """What is not in the record yet, then what ended the process before it was done.

        Args:
            again: all of them, whatever the record holds.
        """
        wanted = list(names)
        fresh = [name for name in wanted if again or name not in self.engines]
        return fresh + [name for name in wanted if name not in fresh and "unfinished" in self.engines[name]]

    def note(self, **fields: Any) -> None:
        """Set fields of the record, and write it."""
        self.record.update(fields)
        self._write()

    def begin(self, name: str) -> None:
        """Say that an engine is being measured, for a reader of what an ended process has left."""
        self.engines[name] = {"unfinished": UNFINISHED}
        self._write()

    def finish(self, name: str, entry: dict[str, Any]) -> None:
        """Put an engine's entry in the place of that."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.engines[name] = {**entry, "measured_at": now}
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            write_json(self._path, self.record)

    def _refuse_another(self, path: Path, setup: dict[str, Any]) -> None:
        before = self.record.get("setup")
        if not isinstance(before, dict) or not isinstance(self.record.get("engines"), dict):
            raise ConfigError(f"{path} is no record of this benchmark. Name another file with --out.")
        other = [name for name in {**before, **setup} if before.get(name) != setup.get(name)]
        if other:
            told = "; ".join(f"{name} {before.get(name)!r}, here {setup.get(name)!r}" for name in other)
            raise ConfigError(
                f"{path} is of another measurement: {told}. Name another file with --out, or remove this one."
            )
