"""A method whose state is how many frames it learned from, for the tests of snapshots and controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moase_edge.adapt.state_file import Binding
from moase_edge.config.state import SnapshotSettings
from moase_edge.errors import AdaptationError
from moase_edge.report import files
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.snapshot_folder import SnapshotFolder
from moase_edge.runtime.snapshots import Snapshots
from tests.runtime.fakes import LevelMethod

BINDING = Binding(identity="a" * 64, precision="fp32", statistics=None, settings={"lr": 0.1})


class CountingMethod(LevelMethod):
    """Learned from so many frames; `state` is that number."""

    def __init__(self) -> None:
        super().__init__()
        self.learned, self.held, self.failed = 0, False, False

    def learn(self, prediction: Prediction) -> Update | None:
        self.learned += 1
        return super().learn(prediction)

    def state(self) -> object | None:
        return None if self.failed else {"learned": self.learned}

    def load(self, state: object) -> None:
        assert isinstance(state, dict)
        if state["learned"] == 666:
            raise AdaptationError("of another shape")
        self.learned = state["learned"]

    def reset(self) -> None:
        self.learned = 0

    def hold(self, held: bool) -> None:
        self.held = held

    def figures(self) -> dict[str, Any]:
        return {"learned": self.learned}


class HandClock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def snapshots_in(
    folder: Path,
    method: CountingMethod,
    *,
    clock: HandClock | None = None,
    binding: Binding = BINDING,
    **options: Any,
) -> Snapshots:
    """Snapshots each 10 s of a clock that stands unless a test moves it."""
    settings = SnapshotSettings(every_s=10, **options)
    return Snapshots(
        SnapshotFolder(folder), method, binding, artifact="fake", settings=settings, clock_s=clock or HandClock()
    )


class Disk:
    """Stands in for a disk: refuses to keep anything while it has a fault."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fault: int | None = None
        real = files.os.fsync

        def fsync(descriptor: int) -> None:
            if self.fault is not None:
                raise OSError(self.fault, "no such luck")
            real(descriptor)

        patch.setattr(files.os, "fsync", fsync)
