"""Where what is dear to make and cheap to lose is kept between runs, outside every artifact."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time

from moase_edge.artifact.manifest import canonical_json

CACHE_VARIABLE = "MOASE_EDGE_CACHE"
_UNFINISHED = ".writing-"
_DAY_S = 86_400

logger = logging.getLogger(__name__)


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder that `MOASE_EDGE_CACHE` names, else `moase-edge` in the user's own cache folder (XDG).

    Args:
        environment: variables; None for this process's own.
    """
    variables = os.environ if environment is None else environment
    if named := variables.get(CACHE_VARIABLE):
        return Path(named)
    root = variables.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "moase-edge"


class Cache:
    """Bytes by what they were made from. A cache never fails: what cannot be read or kept is made again.

    An entry is one file, named by its key and by the hash of its content, that appears by a rename. So one that is
    cut short, changed or half written is recognised, and none is ever used for other facts than its own.

    Args:
        folder: where the entries lie; made when the first one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, kind: str, facts: Mapping[str, object]) -> bytes | None:
        """What was kept for exactly these facts; None where there is nothing, or nothing that is whole.

        Args:
            kind: of entry, a short word: "plan".
            facts: all that the content depends on, as JSON has it.
        """
        for path in self._entries(kind, facts):
            try:
                content = path.read_bytes()
            except OSError as exc:
                logger.warning("the cache entry %s cannot be read and is passed over: %s", path, exc)
                continue
            if hashlib.sha256(content).hexdigest() == path.suffix[1:]:
                return content
            logger.warning("the cache entry %s is damaged; it is removed and made again", path)
            with suppress(OSError):
                path.unlink()
        return None

    def store(self, kind: str, facts: Mapping[str, object], content: bytes) -> None:
        """Keep `content` for these facts in place of what was kept for them; warns where that fails."""
        path = self._folder / f"{_stem(kind, facts)}.{hashlib.sha256(content).hexdigest()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
            _write_whole(path, content)
            for other in self._entries(kind, facts):
                if other != path:
                    other.unlink(missing_ok=True)
        except OSError as exc:
            logger.warning(
                "the cache in %s keeps nothing: %s. Free some space there, or name another folder in %s.",
                self._folder,
                exc.strerror or exc,
                CACHE_VARIABLE,
            )

    def _remove_unfinished(self) -> None:
        """Remove what killed processes left half-written; a day is longer than any write."""
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            with suppress(OSError):
                if time() - path.stat().st_mtime > _DAY_S:
                    path.unlink()

    def _entries(self, kind: str, facts: Mapping[str, object]) -> list[Path]:
        try:
            return sorted(self._folder.glob(f"{_stem(kind, facts)}.*"))
        except OSError:
            return []


def _stem(kind: str, facts: Mapping[str, object]) -> str:
    return f"{kind}-{hashlib.sha256(canonical_json(dict(facts))).hexdigest()}"


def _write_whole(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
