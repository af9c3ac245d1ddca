"""What a source must give back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.frames.processes import held


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fails a test after which there are more children, open files or threads than before."""
    gc.collect()  # what other tests have left goes now, and not while this one counts
    before = held()
    yield
    for left, there_before in zip(held(), before, strict=True):
        assert left <= there_before
