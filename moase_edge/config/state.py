"""Settings of snapshots: how often they are written, and how long they are kept."""

from __future__ import annotations

from pydantic import Field

from moase_edge.config.base import Settings


class SnapshotSettings(Settings):
    """When the learned state is written, and what is kept of it.

    Attributes:
        every_s: seconds between snapshots; at most so much is lost where the power goes.
        keep: the newest of them that are kept.
        keep_days: of those before, the latest of each day (UTC) is kept, for so many days, today included.
    """

    every_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    keep: int = Field(default=10, ge=1, le=10_000)
    keep_days: int = Field(default=7, ge=0, le=3650)
