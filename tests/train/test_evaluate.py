"""Prediction and top-1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.errors import ConfigError
from moase_edge.train.evaluate import normalised, predict, top1_percent


class FirstPixel(nn.Module):
    """The first K values of channel 0 are the logits."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append(len(images))
        return images[:, 0, 0, : self.classes]


def pictures_of(classes: list[int]) -> Tensor:
    """Pictures that FirstPixel takes for these classes."""
    images = torch.zeros(len(classes), 3, 2, 3)
    for image, label in zip(images, classes, strict=True):
        image[0, 0, label] = 1
    return images


def test_top1_counts_three_of_four_by_hand() -> None:
    images = pictures_of([0, 1, 2, 2])
    assert top1_percent(FirstPixel(), images, torch.tensor([0, 1, 1, 2])) == 75.0


def test_batches_change_nothing_and_cover_the_rest() -> None:
    model = FirstPixel()
    classes = [2, 0, 1, 1, 0]
    assert predict(model, pictures_of(classes), batch_size=2).tolist() == classes
    assert model.batches == [2, 2, 1]


@pytest.mark.parametrize("training", [True, False])
def test_mode_of_the_model_is_given_back(training: bool) -> None:
    model = FirstPixel().train(training)
    predict(model, pictures_of([0]))
    assert model.training is training


def test_mode_is_given_back_when_the_model_fails() -> None:
    model = FirstPixel().train()
    with pytest.raises(IndexError):
        predict(model, torch.zeros(1, 3))
    assert model.training


@pytest.mark.parametrize(("count", "labels"), [(0, 0), (2, 1)])
def test_nothing_to_count_is_refused(count: int, labels: int) -> None:
    with pytest.raises(ConfigError, match="one label for each"):
        top1_percent(FirstPixel(), torch.zeros(count, 3, 2, 3), torch.zeros(labels, dtype=torch.int64))


def spec(crop_pct: float = 1.0) -> PreprocessSpec:
    return PreprocessSpec(height=2, width=3, crop_pct=crop_pct, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))


def test_pictures_are_normalised_by_channel() -> None:
    image = np.zeros((1, 2, 3, 3), np.uint8)
    image[0, 1, 2] = (255, 51, 0)
    batch = normalised(image, spec())
    assert batch.shape == (1, 3, 2, 3)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch[0, :, 1, 2], torch.tensor([1.0, (0.2 - 0.5) / 0.5, -4.0]))
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([0.0, -1.0, -4.0]))


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="resize them first"):
        normalised(np.zeros((1, 3, 3, 3), np.uint8), spec())
    with pytest.raises(ConfigError, match="crop"):
        normalised(np.zeros((1, 2, 3, 3), np.uint8), spec(crop_pct=0.9))
