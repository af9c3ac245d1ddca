"""Answers for other programs, as they come."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

from moase_edge.artifact.files import storage_errors
from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.plain import plain_json
from moase_edge.runtime.result import Result


class ConsumerGone(Exception):  # noqa: N818 - an event, no error
    """Whoever read the answers has closed the pipe: no fault, but nobody is listening any more."""


class JsonlEmitter:
    """Writes one JSON object a line for each result, at once.

    Args:
        stream: text stream; closed with the emitter unless it is standard output.

    Attributes:
        to_stdout: whether it is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False
        self.to_stdout = stream is sys.stdout

    def write(self, result: Result) -> None:
        """Write and flush one line.

        Raises:
            ConsumerGone: the reading end was closed.
            StorageError: the file cannot be written.
        """
        try:
            self._stream.write(json.dumps(plain_json(result.as_record())) + "\n")
            self._stream.flush()
        except BrokenPipeError as exc:
            self._broken = True
            raise ConsumerGone from exc
        except OSError as exc:
            self._broken = True
            raise StorageError(f"cannot emit to {self._stream.name}: {exc.strerror}. Free some space.") from exc

    def close(self) -> None:
        """Close the file; standard output stays open, but leads nowhere once a write has failed."""
        if self._broken:
            self._forget_unwritten()
        if not self.to_stdout:
            self._stream.close()

    def _forget_unwritten(self) -> None:
        """Point the descriptor elsewhere: what the stream still holds would fail again when Python ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def emit_target(form: str) -> Path | None:
    """The new file that `jsonl:FILE` names, or None for standard output, `jsonl:-`; opens nothing.

    Raises:
        ConfigError: another form, or the file exists.
        StorageError: the place cannot be looked at.
    """
    kind, _, target = form.partition(":")
    if kind != "jsonl" or not target:
        raise ConfigError(f"--emit {form!r} is unknown. Expected jsonl:- (standard output) or jsonl:FILE.")
    if target == "-":
        return None
    with storage_errors(Path(target)):
        exists = Path(target).exists()
    if exists:
        raise ConfigError(f"{target} exists; --emit writes a new file. Name another.")
    return Path(target)


def open_emitter(form: str) -> JsonlEmitter:
    """`jsonl:-` for standard output, `jsonl:FILE` for a new file.

    Raises:
        ConfigError: another form, or the file exists.
        StorageError: the file cannot be made, or standard output is closed.
    """
    target = emit_target(form)
    if target is None and sys.stdout is None:
        raise StorageError("standard output is closed, so --emit jsonl:- has nowhere to write. Use jsonl:FILE.")
    if target is None:
        return JsonlEmitter(sys.stdout)
    try:
        return JsonlEmitter(target.open("x", encoding="utf-8"))
    except OSError as exc:
        raise StorageError(f"cannot write {target}: {exc.strerror}. Name a place that can be written.") from exc
