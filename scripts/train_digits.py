"""Train the demo model `digits_vit` on the train half of the digits and write it into the package.

    python scripts/train_digits.py

It learns from clean digits, turned, scaled and shifted a little, and from no other change: a source model that
drift hurts, as it hurts a real one. The settings were compared on a quarter of the train half, held out; the test
half is looked at once, at the end. About a minute and a half on one CPU core.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.digits import SIZE_PX, SPLIT_SEED, digits_weights_path, load_digits_split
from moase_edge.data.labelled import LabelledImages
from moase_edge.train.augment import LightAugment
from moase_edge.train.evaluate import normalised, top1_percent
from moase_edge.train.source import EpochResult, Recipe, train_source

ARCHITECTURE: dict[str, Any] = {
    "img_size": SIZE_PX,
    "patch_size": 8,
    "in_chans": 3,
    "num_classes": 10,
    "global_pool": "token",
    "class_token": True,
    "embed_dim": 64,
    "depth": 6,
    "num_heads": 4,
    "mlp_ratio": 2.0,
}
PREPROCESS = PreprocessSpec(height=SIZE_PX, width=SIZE_PX, crop_pct=1.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
AUGMENT: dict[str, float] = {"max_shift": 0.08, "max_angle_deg": 12.0, "max_scale": 0.12, "fill": -1.0}
TRAINING: dict[str, Any] = {"batch_size": 64, "lr": 1e-3, "weight_decay": 0.05, "label_smoothing": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model on the train half of the digits.")
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; the weights depend on it")
    parser.add_argument("--out", type=Path, default=digits_weights_path(), help="the .safetensors to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)  # the model's first weights
    model = VisionTransformer(**ARCHITECTURE)
    images, labels = tensors(load_digits_split("train"))
    train_source(
        model,
        images,
        labels,
        Recipe(epochs=options.epochs, **TRAINING),
        seed=options.seed,
        augment=LightAugment(**AUGMENT),
        on_epoch=show,
    )
    options.out.write_bytes(save(model.state_dict()))
    accuracy = top1_percent(model, *tensors(load_digits_split("test")))
    card = describe(model, options, accuracy)
    options.out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(f"{options.out.name}: {accuracy:.2f} % top-1 on the test half")


def tensors(digits: LabelledImages) -> tuple[Tensor, Tensor]:
    """N x 3 x H x W and N, as the model takes them."""
    return normalised(digits.images, PREPROCESS), torch.from_numpy(digits.labels)


def show(result: EpochResult) -> None:
    if result.epoch % 10 == 9:
        print(f"epoch {result.epoch + 1}: loss {result.loss:.3f}, top-1 {result.train_top1_percent:.1f} %")


def describe(model: VisionTransformer, options: argparse.Namespace, accuracy: float) -> dict[str, Any]:
    """The model card that ships beside the weights."""
    packages = ("torch", "timm", "numpy", "scikit-learn", "opencv-python-headless", "safetensors")
    return {
        "name": "digits_vit",
        "architecture": ARCHITECTURE,
        "preprocess": PREPROCESS.model_dump(mode="json"),
        "labels": [str(digit) for digit in range(ARCHITECTURE["num_classes"])],
        "accuracy": {"test_top1_percent": round(accuracy, 3), "shift": "none"},
        "data": {
            "set": "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, 1998 (CC BY 4.0)",
            "split_seed": SPLIT_SEED,
            "train_pictures": len(load_digits_split("train")),
            "test_pictures": len(load_digits_split("test")),
        },
        "training": {"epochs": options.epochs, **TRAINING, "augment": AUGMENT},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": hashlib.sha256(options.out.read_bytes()).hexdigest(),
        "seed": options.seed,
        "threads": options.threads,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "command": " ".join(["python", "scripts/train_digits.py", *sys.argv[1:]]),
    }


if __name__ == "__main__":
    main()
