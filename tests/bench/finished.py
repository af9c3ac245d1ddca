"""Benchmarks that are finished without having run: cells of records known by construction, saved by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.bench.cells import Measured
from moase_edge.bench.grid import SUBJECT, Cell, cells_of, prepare_folder
from moase_edge.config.bench import BenchSettings
from moase_edge.metrics.cell import CellRecord
from moase_edge.report.files import write_json
from tests.metrics.cells import cell as record

FACTS = {
    "backbone": "digits_vit",
    "architecture": "digits_vit",
    "weights": "pretrained",
    "checkpoint_sha256": "0" * 64,
    "classes": 10,
    "preprocess": PreprocessSpec(height=32, width=32, crop_pct=1.0, mean=(0.5,) * 3, std=(0.25,) * 3).model_dump(
        mode="json"
    ),
    "data": "digits",
    "pictures": 901,
    "source_images": 100,
    "streamed": 801,
    "left_out": {},
}


class Kept(NamedTuple):
    """What a cell's folder holds."""

    record: CellRecord
    clean: CellRecord
    measured: Measured
    counts: Mapping[str, int] | None = None


def kept(
    wrong: Sequence[bool],
    clean_wrong: Sequence[bool] = (False,) * 4,
    *,
    ms: float = 2.0,
    peak_mib: float | None = 300.0,
    **changes: Any,
) -> Kept:
    """A cell whose answers are wrong as told, on the stream and on clean pictures afterwards."""
    measured = Measured({"engine": ms, "emit": 9.0}, peak_mib, wall_s=1.5)
    return Kept(record(list(wrong), **changes), record(list(clean_wrong)), measured)


def settings_of(**changes: Any) -> BenchSettings:
    """Settings of a benchmark of the source and the shipped method."""
    return BenchSettings(**{"methods": ("edge",), "corruptions": ("fog", "snow"), **changes})


def finish(out: Path, settings: BenchSettings, of: Callable[[Cell], Kept], **facts: Any) -> Path:
    """A folder in which every cell is done."""
    prepare_folder(out, settings)
    write_json(out / SUBJECT, {**FACTS, **facts})
    for cell in cells_of(settings):
        cell.files(out).save(*of(cell))
    return out


def alternating(frames: int) -> dict[str, Any]:
    """A record's changes for a stream in which another domain comes with every frame."""
    return {"domain": np.arange(frames, dtype=np.int64) % 2}
