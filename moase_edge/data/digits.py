"""The demo's data and model: real handwritten digits, and a small vision transformer trained on half of them.

The pictures are the 1797 test digits of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998) as scikit-learn ships them. The weights in `assets/` come from `scripts/train_digits.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.config.base import load_settings
from moase_edge.data.labelled import LabelledImages
from moase_edge.errors import ArtifactError, ConfigError

DigitsSplit = Literal["train", "test"]

SIZE_PX = 32
SPLIT_SEED = 20260
ASSETS = Path(__file__).parent / "assets"


def load_digits_split(split: DigitsSplit) -> LabelledImages:
    """Half of the digits: `train` is what the demo model learned from, `test` is what demos and benchmarks stream.

    Nothing is ever chosen on the test half. The halves are drawn within each class, so both hold the classes
    alike; they share their writers. The order of each half is a fixed shuffle.

    Returns:
        N x 32 x 32 x 3 pictures, white on black, grey in all three channels; N is 896 for train, 901 for test.

    Raises:
        ConfigError: an unknown split, or scikit-learn is not installed.
    """
    small, labels = _load_digits()
    train, test = split_indices(labels)
    halves = {"train": train, "test": test}
    if split not in halves:
        raise ConfigError(f"split {split!r} does not exist; expected one of {', '.join(halves)}")
    chosen = halves[split]
    return LabelledImages(
        images=np.stack([_enlarge(picture) for picture in small[chosen]]),
        labels=labels[chosen],
        names=tuple(str(digit) for digit in range(10)),
    )


def split_indices(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Train and test half of `labels` (N, int64) as indices: disjoint, together all, each class cut in half.

    Of a class with an odd number the test half takes the extra one.
    """
    # RandomState, not a Generator: NumPy keeps its stream the same for ever, and the weights that ship with the
    # package must never meet a test half that holds what they were trained on.
    rng = np.random.RandomState(SPLIT_SEED)
    train, test = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        train.append(members[: len(members) // 2])
        test.append(members[len(members) // 2 :])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def digits_weights_path() -> Path:
    """The demo model's weights, a safetensors file of a timm `VisionTransformer`."""
    return ASSETS / "digits_vit.safetensors"


def digits_model_arguments() -> dict[str, Any]:
    """Keyword arguments of timm's `VisionTransformer` for `digits_vit`.

    Raises:
        ArtifactError: the description beside the weights is missing or damaged.
    """
    return dict(_model_card()["architecture"])


def digits_preprocess() -> PreprocessSpec:
    """The preprocessing that `digits_vit` was trained with.

    Raises:
        ArtifactError: the description beside the weights is missing or damaged.
    """
    values = _model_card()["preprocess"]
    try:
        return load_settings(PreprocessSpec, values)
    except ConfigError as exc:
        raise ArtifactError(_damaged(exc)) from exc


def _model_card() -> dict[str, Any]:
    try:
        card = json.loads(digits_weights_path().with_suffix(".json").read_text(encoding="utf-8"))
        return {key: dict(card[key]) for key in ("architecture", "preprocess")}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ArtifactError(_damaged(exc)) from exc


def _damaged(cause: Exception) -> str:
    return (
        f"digits_vit.json of the demo model cannot be used ({cause!r}); it ships with moase-edge: install it again"
    )


def _load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """N x 8 x 8 pictures in 0..1 and N labels, in scikit-learn's order."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as exc:
        raise ConfigError(
            "the digits come with scikit-learn, which is not installed; run: pip install 'moase-edge[bench]'"
        ) from exc
    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


def _enlarge(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """8 x 8 in 0..1 to 32 x 32 x 3, uint8."""
    import cv2

    large = cv2.resize(picture, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)
    grey = np.rint(np.clip(large, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
