"""Settings of live sources: how long to wait, and what to do when one is lost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from moase_edge.config.base import Settings

RtspTransport = Literal["tcp", "udp"]


class SourceSettings(Settings):
    """How a camera or network stream is waited for and opened again.

    Attributes:
        open_s: seconds that opening may take.
        wait_s: seconds without a frame after which a source is lost.
        first_pause_s: seconds between the loss of a source and the first try to open it again; doubled after each
            further one,
        most_pause_s: up to this.
        give_up_after_s: seconds without a frame after which the run ends; None tries for ever. A source that never
            gave a frame is not tried again.
        decode_threads: of FFmpeg, for network streams; each beyond the first delays every picture by one, but 4K
            may need them.
        rtsp_transport: what carries the pictures of an RTSP stream; udp loses some where the network is busy.
    """

    open_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    wait_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    first_pause_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    most_pause_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    give_up_after_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    decode_threads: int = Field(default=1, ge=1, le=64)
    rtsp_transport: RtspTransport = "tcp"

    @model_validator(mode="after")
    def _pauses_grow(self) -> SourceSettings:
        if self.most_pause_s < self.first_pause_s:
            raise ValueError(
                f"most_pause_s ({self.most_pause_s:g}) must not be below first_pause_s ({self.first_pause_s:g})"
            )
        return self
