"""Pictures to batches, and how often a model names them right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.errors import ConfigError


def normalised(images: NDArray[np.uint8], preprocess: PreprocessSpec) -> Tensor:
    """Pictures that already have the model's size, as the model expects them.

    Args:
        images: N x H x W x 3, RGB, uint8.

    Returns:
        N x 3 x H x W, float32, `(value / 255 - mean) / std` per channel.

    Raises:
        ConfigError: another size, or a crop, which needs the full preprocessing.
    """
    expected = (preprocess.height, preprocess.width, 3)
    if images.shape[1:] != expected or preprocess.crop_pct != 1:
        raise ConfigError(
            f"pictures of {images.shape[1:]} with crop_pct {preprocess.crop_pct}; expected {expected} "
            "and no crop: resize them first"
        )
    mean, std = np.array(preprocess.mean, np.float32), np.array(preprocess.std, np.float32)
    values = (images.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


@torch.no_grad()
def predict(
    model: nn.Module, images: Tensor, *, batch_size: int = 256, device: str | torch.device = "cpu"
) -> Tensor:
    """The most likely class of each of `images` (N x 3 x H x W, float32): N, int64, on the CPU.

    The model must be on `device`; it predicts in evaluation mode and gets its own mode back.
    """
    was_training = model.training
    model.eval()
    try:
        classes = [model(batch.to(device)).argmax(dim=1).cpu() for batch in torch.split(images, batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(classes)


def top1_percent(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> float:
    """Share of `images` (N x 3 x H x W, float32) whose most likely class is their label (N, int64), 0..100.

    Raises:
        ConfigError: no pictures, or not one label for each.
    """
    if not len(images) or labels.shape != images.shape[:1]:
        raise ConfigError(
            f"{len(images)} pictures and labels of shape {tuple(labels.shape)}; "
            "expected at least one picture and one label for each"
        )
    correct = predict(model, images, batch_size=batch_size, device=device) == labels.cpu()
    return 100 * int(correct.sum()) / len(labels)
