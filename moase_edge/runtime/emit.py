"""Answers for other programs, as they come."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.plain import plain_json
from moase_edge.runtime.result import Result

logger = logging.getLogger(__name__)


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
        self._reader_gone = False
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
            self._reader_gone = True
            raise ConsumerGone from exc
        except OSError as exc:
            raise StorageError(f"cannot emit to {self._stream.name}: {exc.strerror}. Free some space.") from exc

    def close(self) -> None:
        """Close the file; standard output stays open, but leads nowhere once its reader is gone."""
        if self._reader_gone:
            self._forget_unread()
        if self.to_stdout:
            return
        try:
            self._stream.close()
        except OSError as exc:
            logger.warning("the last answers were not emitted to %s: %s", self._stream.name, exc.strerror)

    def _forget_unread(self) -> None:
        """Point the descriptor elsewhere: what the stream still holds would fail again when Python ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def emit_target(form: str) -> Path | None:
    """The new file that `jsonl:FILE` names, or None for standard output, `jsonl:-`; opens nothing.

    Raises:
        ConfigError: another form, or the file exists.
    """
    kind, _, target = form.partition(":")
    if kind != "jsonl" or not target:
        raise ConfigError(f"--emit {form!r} is unknown. Expected jsonl:- (standard output) or jsonl:FILE.")
    if target == "-":
        return None
    if Path(target).exists():
        raise ConfigError(f"{target} exists; --emit writes a new file. Name another.")
    return Path(target)


def open_emitter(form: str) -> JsonlEmitter:
    """`jsonl:-` for standard output, `jsonl:FILE` for a new file.

    Raises:
        ConfigError: another form, or the file exists.
        StorageError: the file cannot be made.
    """
    target = emit_target(form)
    if target is None:
        return JsonlEmitter(sys.stdout)
    try:
        return JsonlEmitter(target.open("x", encoding="utf-8"))
    except OSError as exc:
        raise StorageError(f"cannot write {target}: {exc.strerror}. Name a place that can be written.") from exc
