"""Compare the corruptions with the published package on real photographs, and print the tables in Markdown.

    MOASE_EDGE_DATA=<folder> python -m benchmarks.corruption_statistics

The folder holds `corruption_reference.json`, statistics of what the package `imagecorruptions` made of the centres
of three photographs, and `photos/` with these photographs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moase_edge.data.corruptions import CORRUPTIONS, corrupt

CROP_PX = 224
SEEDS = (0, 1, 2)
SEVERITIES = (1, 3, 5)

Draws = Callable[[int], np.random.Generator]


class Statistics(NamedTuple):
    """Of one picture or the mean of several, 0..255 over all channels; `grad` is the mean absolute difference of
    horizontal neighbours."""

    mean_abs_diff: float
    mean: float
    std: float
    grad: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One corruption at one severity.

    Attributes:
        name: of the corruption.
        severity: 1, 3 or 5.
        measured: by photograph.
        reference: by photograph.
        frame_ms: mean time of one frame.
    """

    name: str
    severity: int
    measured: dict[str, Statistics]
    reference: dict[str, Statistics]
    frame_ms: float

    @property
    def worst(self) -> float:
        """The largest relative deviation of any statistic on any photograph."""
        return max(
            abs(got / expected - 1)
            for photo, reference in self.reference.items()
            for got, expected in zip(self.measured[photo], reference, strict=True)
        )


class PublishedDraws:
    """NumPy's legacy generator behind those methods of a `Generator` that the corruptions call.

    The published code draws from it, in the same order and with the seeds 0, 1 and 2 for the reference, so what
    is left of the deviations is not chance. Its stream is the same in all versions of NumPy. The published impulse
    noise and glass blur do not draw from it, and the published frost is a choice of photographs.
    """

    def __init__(self, seed: int) -> None:
        self._legacy = np.random.RandomState(seed)

    def random(self, size: Any, dtype: Any = np.float64) -> Any:
        return self._legacy.random_sample(size).astype(dtype)

    def standard_normal(self, size: Any, dtype: Any = np.float64) -> Any:
        return self._legacy.standard_normal(size).astype(dtype)

    def normal(self, loc: float, scale: float, size: Any) -> Any:
        return self._legacy.normal(loc, scale, size)

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        return self._legacy.uniform(low, high, size)

    def integers(self, low: int, high: int, size: Any) -> Any:
        return self._legacy.randint(low, high, size)

    def poisson(self, lam: NDArray[np.float64]) -> Any:
        return self._legacy.poisson(lam)


def published_draws(seed: int) -> np.random.Generator:
    """A generator that draws what the published package drew for the reference."""
    return cast(np.random.Generator, PublishedDraws(seed))


def centre_crop(photo: Path) -> NDArray[np.uint8]:
    """The middle 224 x 224 px of a photograph, RGB."""
    image = np.array(Image.open(photo).convert("RGB"))
    top, left = (image.shape[0] - CROP_PX) // 2, (image.shape[1] - CROP_PX) // 2
    return np.ascontiguousarray(image[top : top + CROP_PX, left : left + CROP_PX])


def statistics(image: NDArray[np.uint8], clean: NDArray[np.uint8]) -> Statistics:
    """Statistics of one corrupted picture."""
    levels = image.astype(np.float64)
    return Statistics(
        mean_abs_diff=float(np.abs(levels - clean).mean()),
        mean=float(levels.mean()),
        std=float(levels.std()),
        grad=float(np.abs(np.diff(levels, axis=1)).mean()),
    )


def average(several: Iterable[Statistics]) -> Statistics:
    """The mean of each statistic."""
    return Statistics(*np.mean(list(several), axis=0).tolist())


def compare(data: Path, draws: Draws, names: Iterable[str] = tuple(CORRUPTIONS)) -> list[Comparison]:
    """Measure each corruption at severities 1, 3 and 5, as a mean over three seeds, beside the reference.

    Args:
        data: the folder described above.
        draws: makes the generator from a seed.
        names: which corruptions.
    """
    reference = json.loads((data / "corruption_reference.json").read_text(encoding="utf-8"))
    photos = {name: centre_crop(data / "photos" / name) for name in reference["photos"]}
    rows = []
    for name in names:
        for severity in SEVERITIES:
            published = reference["values"][name][str(severity)]
            start_s = time.perf_counter()
            measured = {photo: _measure(clean, name, severity, draws) for photo, clean in photos.items()}
            frame_ms = 1e3 * (time.perf_counter() - start_s) / (len(SEEDS) * len(photos))
            expected = {photo: Statistics(**published[photo]) for photo in photos}
            rows.append(Comparison(name, severity, measured, expected, frame_ms))
    return rows


def _measure(clean: NDArray[np.uint8], name: str, severity: int, draws: Draws) -> Statistics:
    return average(statistics(corrupt(clean, name, severity, draws(seed)), clean) for seed in SEEDS)


def full_table(rows: list[Comparison]) -> str:
    """Markdown: measured / reference of each statistic, averaged over the photographs."""
    lines = [
        f"| corruption | severity | {' | '.join(Statistics._fields)} | worst |",
        "|---|---|" + "---|" * (len(Statistics._fields) + 1),
    ]
    for row in rows:
        pairs = zip(average(row.measured.values()), average(row.reference.values()), strict=True)
        cells = " | ".join(f"{got:.2f} / {expected:.2f}" for got, expected in pairs)
        lines.append(f"| {row.name} | {row.severity} | {cells} | {row.worst:.1%} |")
    return "\n".join(lines)


def short_table(rows: list[Comparison]) -> str:
    """Markdown: the worst relative deviation at each severity, one row a corruption."""
    lines = [f"| corruption | {' | '.join(f'severity {s}' for s in SEVERITIES)} |", "|---|---|---|---|"]
    for name in dict.fromkeys(row.name for row in rows):
        mine = [row for row in rows if row.name == name]
        lines.append(f"| {name} | {' | '.join(f'{row.worst:.1%}' for row in mine)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("MOASE_EDGE_DATA"))
    data = parser.parse_args().data
    if data is None:
        parser.error("name the data folder, or set MOASE_EDGE_DATA")
    print("The published draws:\n")
    print(full_table(compare(Path(data), published_draws)))
    print("\nNumPy's default generator:\n")
    own = compare(Path(data), np.random.default_rng)
    print(short_table(own))
    slowest = max(own, key=lambda row: row.frame_ms)
    print(f"\nSlowest: {slowest.name} at severity {slowest.severity}, {slowest.frame_ms:.1f} ms a frame.")


if __name__ == "__main__":
    main()
