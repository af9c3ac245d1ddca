"""Tiny seeded vision transformers, subjects of them, and parts that answer by a known rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Taps
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.bench.subject import Subject
from moase_edge.moase.objectives import Views
from moase_edge.models.build import Backbone
from moase_edge.runtime.method import Method, Prediction, Update
from moase_edge.runtime.stages import Stages

SIZE_PX = 32
CLASSES = 5
DEPTH = 4
PREPROCESS = PreprocessSpec(height=SIZE_PX, width=SIZE_PX, crop_pct=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)


def tiny_network(*, sure: float = 1.0, distilled: bool = False, **arguments: Any) -> nn.Module:
    """A seeded vision transformer of 4 blocks and 5 classes; `sure` scales its logits."""
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    kind = VisionTransformerDistilled if distilled else VisionTransformer
    shape = {"img_size": SIZE_PX, "patch_size": 16, "embed_dim": 16, "depth": DEPTH, "num_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = kind(**{**shape, "num_classes": CLASSES, **arguments})
        # timm's start has a head of zeros: every answer would be the same.
        if isinstance(network.head, nn.Linear):
            nn.init.normal_(network.head.weight, std=sure)
            nn.init.normal_(network.head.bias, std=0.1)
    return network.eval().requires_grad_(False)


def tiny_backbone(**arguments: Any) -> Backbone:
    """The tiny network as a backbone."""
    return Backbone(tiny_network(**arguments), "tiny", "tiny", PREPROCESS, "random")


def tiny_subject(*, sources: int = 8, **arguments: Any) -> Subject:
    """A subject of the tiny network; its logits are sure enough that filters let frames through."""
    backbone = tiny_backbone(**{"sure": 2.0, **arguments})
    return Subject.in_torch(backbone, source_images=frames(sources, seed=99) if sources else None)


def frames(count: int, seed: int = 0) -> NDArray[np.float32]:
    """(count, 3, 32, 32) preprocessed noise."""
    return np.random.default_rng(seed).standard_normal((count, 3, SIZE_PX, SIZE_PX), dtype=np.float32)


def run(method: Method, images: NDArray[np.float32]) -> tuple[Prediction, Update | None]:
    """Answer a batch and learn from it."""
    prediction = method.predict(images, Stages())
    return prediction, method.learn(prediction)


def answers(method: Method, batches: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Logits of each batch, copied, learned from one after the other."""
    return [run(method, batch)[0].logits.copy() for batch in batches]


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def changed(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    """Names of the weights that are no longer what they were."""
    return {name for name, tensor in network.state_dict().items() if not torch.equal(before[name], tensor)}


class PixelEngine:
    """An engine whose taps carry the first pixel of each frame: three features."""

    name = "pixel"

    def __init__(self) -> None:
        self.closed = False

    def run(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        pixel = np.ascontiguousarray(images[:, :, 0, 0])
        return {"mid": pixel[:, None], "out": pixel[:, None], "logits": pixel}

    def close(self) -> None:
        self.closed = True


class PixelSidecar(nn.Module):
    """Features are what PixelEngine's taps carry; the head is linear."""

    head_dist = None

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.head = nn.Linear(weight.shape[1], weight.shape[0], bias=False).requires_grad_(False)
        self.head.weight.copy_(weight)

    def forward(self, taps: Taps) -> Views:
        features = taps.out[:, 0]
        return Views(logits=self.head(features), features=features)


def pixels(*features: tuple[float, float, float]) -> NDArray[np.float32]:
    """Frames of 2 px that PixelEngine reads these features from."""
    images = np.zeros((len(features), 3, 2, 2), dtype=np.float32)
    images[:, :, 0, 0] = features
    return images


class Slope(nn.Module):
    """Two classes, logits (w * first pixel, 0): a network whose gradients can be worked by hand."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        pixel = images.flatten(1)[:, 0]
        return torch.stack([self.weight * pixel, torch.zeros_like(pixel)], dim=1)
