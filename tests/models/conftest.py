from __future__ import annotations

import pytest

from moase_edge.models import build


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks the network fails the test."""

    def fail(*_args: object, **_options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(build, "_reach", fail)
    monkeypatch.setattr(build, "_fetch", fail)
