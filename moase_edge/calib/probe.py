"""The frames that a device checks a plan by, and what the fp32 engine makes of them."""

from __future__ import annotations

from pathlib import Path

from moase_edge.artifact.parity_probe import PARITY_PROBE_FILE, PROBE_FRAMES, save_parity_probe
from moase_edge.calib.pictures import Pictures
from moase_edge.engines.base import Engine
from moase_edge.engines.shift import seeded_shifts


def write_probe(engine: Engine, pictures: Pictures, folder: Path) -> None:
    """Write the probe of an artifact that is being built: a few of the frames, spread over all.

    They have to be of the deployment, where an int8 engine is in it: it is exact within its ranges alone.

    Args:
        engine: in fp32.
        pictures: that no range was taken from.
        folder: of the artifact.

    Raises:
        StorageError: the file cannot be written.
        EngineError: the engine failed.
    """
    images = pictures.spread(PROBE_FRAMES).frames
    outputs = [engine.run(image) for image in images]
    shifts = seeded_shifts(outputs)
    save_parity_probe(
        images,
        outputs,
        folder / PARITY_PROBE_FILE,
        shifts=shifts,
        steered=[engine.run(*pair) for pair in zip(images, shifts, strict=False)],
    )
