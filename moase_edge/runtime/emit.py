"""Answers for other programs, as they come."""

from __future__ import annotations

import json
import sys
from typing import TextIO

from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.plain import plain_json
from moase_edge.runtime.result import Result


class ConsumerGone(Exception):  # noqa: N818 - an event, no error
    """Whoever read the answers has closed the pipe: no fault, but nobody is listening any more."""


class JsonlEmitter:
    """Writes one JSON object a line for each result, at once.

    Args:
        stream: text stream; closed with the emitter unless it is standard output.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

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
            raise ConsumerGone from exc
        except OSError as exc:
            raise StorageError(f"cannot emit to {self._stream.name}: {exc.strerror}. Free some space.") from exc

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._stream is not sys.stdout:
            self._stream.close()


def open_emitter(form: str) -> JsonlEmitter:
    """`jsonl:-` for standard output, `jsonl:PATH` for a new file.

    Raises:
        ConfigError: another form, or the file exists.
        StorageError: the file cannot be made.
    """
    kind, _, target = form.partition(":")
    if kind != "jsonl" or not target:
        raise ConfigError(f"--emit {form!r} is unknown. Expected jsonl:- (standard output) or jsonl:FILE.")
    if target == "-":
        return JsonlEmitter(sys.stdout)
    try:
        return JsonlEmitter(open(target, "x", encoding="utf-8"))  # noqa: PTH123 - closed by the emitter
    except FileExistsError as exc:
        raise ConfigError(f"{target} exists; --emit writes a new file. Name another.") from exc
    except OSError as exc:
        raise StorageError(f"cannot write {target}: {exc.strerror}. Name a place that can be written.") from exc
