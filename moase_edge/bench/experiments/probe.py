"""Linear probes on the weaker and the stronger half of activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.data.chance import generator
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.moase.sdd import keep_weaker_half

Half = Literal["weaker half", "stronger half", "all channels"]
HALVES: tuple[Half, ...] = get_args(Half)

_DEPTHS = 6
_CHUNK = 16
# First number of the key of the split by picture (see `moase_edge.data.selection`).
_PROBE_KEY = 102
_FEWEST_OF_A_CLASS = 4
# Of the 1000 classes of ImageNet the first 398 are animals.
_IMAGENET_CLASSES, _ANIMALS = 1000, 398
_INVERSE_PENALTY = 0.1


def chosen_blocks(depth: int) -> list[int]:
    """At most six blocks from the first to the last, evenly spaced."""
    return sorted({round(place) for place in np.linspace(0, depth - 1, min(_DEPTHS, depth))})


@torch.no_grad()
def pooled_halves(
    model: nn.Module, preprocessor: Preprocessor, images: Sequence[NDArray[np.uint8]], blocks: Sequence[int]
) -> dict[Half, NDArray[np.float32]]:
    """Mean over tokens of each half of the residual stream after attention: (n, len(blocks), C) by half.

    Args:
        images: n pictures, H x W x 3, uint8.
    """
    seen: list[Tensor] = []
    found: dict[Half, list[Tensor]] = {half: [] for half in HALVES}
    network = cast(Any, model)
    # What the second norm of a block reads is what MoASE beside it reads.
    hooks = [
        network.blocks[b].norm2.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for b in blocks
    ]
    try:
        for start in range(0, len(images), _CHUNK):
            seen.clear()
            model(torch.from_numpy(preprocessor.batch(images[start : start + _CHUNK])))
            for half, pooled in _halves(torch.stack(seen, dim=1)).items():
                found[half].append(pooled)
    finally:
        for hook in hooks:
            hook.remove()
    return {half: torch.cat(chunks).numpy() for half, chunks in found.items()}


def _halves(x: Tensor) -> dict[Half, Tensor]:
    """(B, D, N, C) -> each (B, D, C), averaged over tokens."""
    weaker = keep_weaker_half(x)
    parts: dict[Half, Tensor] = {"weaker half": weaker, "stronger half": x - weaker, "all channels": x}
    return {half: part.mean(dim=2) for half, part in parts.items()}


def class_targets(
    labels: NDArray[np.int64], pictures: NDArray[np.int64], classes: int
) -> dict[str, NDArray[np.int64]]:
    """What a probe for the class is to tell: the class, or whether it is an animal where pictures are too few.

    Args:
        labels, pictures: (n,) of each frame.
        classes: of the model; 1000 are taken to be those of ImageNet.

    Returns:
        (n,) under the name of what is asked; empty where neither can be.
    """
    _, first = np.unique(pictures, return_index=True)
    _, counts = np.unique(labels[first], return_counts=True)
    if counts.min() >= _FEWEST_OF_A_CLASS:
        return {"class": labels}
    return {"animal or not": (labels < _ANIMALS).astype(np.int64)} if classes == _IMAGENET_CLASSES else {}


def held_out_accuracy(
    features: NDArray[np.float32], answer: NDArray[np.int64], pictures: NDArray[np.int64], seed: int
) -> float:
    """Accuracy, in percent, of a logistic regression on the half of the pictures that it was not fitted on.

    Args:
        features: (n, C).
        answer, pictures: (n,).
        seed: of the split: all frames of a picture fall on one side.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = np.unique(pictures)
    drawn = generator(seed, _PROBE_KEY).permutation(known)[: len(known) // 2]
    fitted = np.isin(pictures, drawn)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_PENALTY, max_iter=5000))
    probe.fit(features[fitted].astype(np.float64), answer[fitted])
    return 100.0 * float(probe.score(features[~fitted].astype(np.float64), answer[~fitted]))
