"""Runs over digits that change, whose state is kept, for the tests of `run --resume` and of `state`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moase_edge.cli.run import RunArguments, StateArguments
from moase_edge.cli.run_command import execute

FRAMES = 60
# So that steering and all that watches are decided within so few frames.
QUICK = {"track": {"gain": 0.0, "trials": 2}, "referee": {"proven": 4}}


def write_stream(folder: Path, frames: int = FRAMES) -> Path:
    """Digits: clean, in noise, faint, and so on in turn."""
    from moase_edge.data.digits import load_digits_split

    folder.mkdir()
    rng = np.random.default_rng(0)
    images = load_digits_split("test").images
    for index in range(frames):
        shown, turn = images[index % len(images)].astype(np.float32), index % FRAMES
        if 6 <= turn < 36:
            shown = shown + rng.normal(0, 70, shown.shape)
        elif turn >= 36:
            shown = 0.25 * shown + 120
        cv2.imwrite(str(folder / f"{index:05}.png"), np.clip(shown, 0, 255).astype(np.uint8))
    return folder


def run(
    artifact: Path,
    stream: Path,
    report: Path,
    *,
    adapt: str = "every",
    settings: Path | None = None,
    max_frames: int | None = None,
    **state: Any,
) -> list[dict[str, Any]]:
    """`moase-edge run` in this process; its journal without what a clock tells."""
    execute(
        RunArguments(
            source=str(stream),
            artifact=artifact,
            engine="ort",
            adapt=adapt,
            settings=settings,
            max_frames=max_frames,
            threads=1,
            report=report,
            force=True,
            state=StateArguments(**state),
        )
    )
    return journal(report)


def journal(report: Path) -> list[dict[str, Any]]:
    timed = {"timestamp_s", "age_ms", "timings_ms"}
    lines = (json.loads(line) for line in (report / "frames.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


def write_settings(path: Path, *more: dict[str, Any]) -> Path:
    path.write_text(json.dumps({key: value for part in (QUICK, *more) for key, value in part.items()}))
    return path


def numbers(lines: Sequence[dict[str, Any]]) -> list[int]:
    return [line["frame"] for line in lines]
