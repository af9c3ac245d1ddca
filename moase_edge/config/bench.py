"""Settings of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.base import Settings
from moase_edge.config.moase import MoaseSettings

# Corruptions of the project's own tables: two noises, a blur, weather, and digital ones.
DEFAULT_CORRUPTIONS = (
    "gaussian_noise",
    "impulse_noise",
    "defocus_blur",
    "fog",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
)


class BenchSettings(Settings):
    """What is compared, on what, and how often. Results belong to exactly these settings.

    Attributes:
        data: `digits`, a folder of labelled pictures, `cifar10c:DIR`, `cifar100c:DIR` or `imagenetc:DIR`.
        backbone, checkpoint, labels: the source model and the names of its classes, as `export` takes them.
        adapt_blocks, moase, adapt: of the shipped method, `edge`; the baselines have their own.
        steer: the engine can be steered, which the shipped method makes use of.
        methods, protocols: by name.
        corruptions, severity: the domains, in order.
        pictures: how many of the data set are streamed in each domain; None for all that are not source images.
        source_images: how many are kept aside as source images.
        batch_size: frames that are answered and learned from together, where the protocol leaves it open.
        seeds: of the split, the order and the corruption; a cell for each.
        bootstrap: resamples of each interval.
        threads: of each process's engine and of PyTorch; results depend on it to the last bits.
    """

    data: str = "digits"
    backbone: str = "digits_vit"
    checkpoint: Path | None = None
    labels: Path | None = None
    adapt_blocks: int = Field(default=1, ge=1)
    moase: MoaseSettings = MoaseSettings()
    adapt: AdaptSettings = ADAPT_PRESETS["edge"]
    steer: bool = True
    methods: tuple[str, ...] = Field(min_length=1)
    protocols: tuple[str, ...] = Field(default=("continual",), min_length=1)
    corruptions: tuple[str, ...] = Field(default=DEFAULT_CORRUPTIONS, min_length=1)
    severity: int = Field(default=5, ge=1, le=5)
    pictures: int | None = Field(default=None, ge=2)
    source_images: int = Field(default=100, ge=0)
    batch_size: int = Field(default=16, ge=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    bootstrap: int = Field(default=2000, ge=100)
    threads: int = Field(default=1, ge=1)
