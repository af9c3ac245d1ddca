"""What a command says where an optional package is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from moase_edge.errors import ConfigError


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Translate a failed import in the block into the extra of moase-edge that brings the package.

    Raises:
        ConfigError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"the package {exc.name} is not installed, and this command needs it: "
            f"`pip install 'moase-edge[{extra}]'`, or `pip install -e '.[{extra}]'` in a checkout."
        ) from exc
