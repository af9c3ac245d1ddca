"""Small artifacts made without PyTorch: a manifest, and files of a few bytes in place of engine and weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from moase_edge.artifact.manifest import seal
from moase_edge.artifact.store import MANIFEST, write_manifest

EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
FILES = {
    "backbone.onnx": b"\x08\x0a engine",
    "sidecar.safetensors": b"weights",
    "parity.json": b"{}\n",
    "reproduce.sh": b"#!/bin/sh\n",
}


def fields(**changes: Any) -> dict[str, Any]:
    """A manifest's fields, without those that `write_manifest` adds."""
    return {
        "created_at": EPOCH,
        "moase_edge_version": "0.1.0",
        "name": "tiny",
        "labels": ("cat", "dog"),
        "identity": "1" * 64,
        "provenance": {
            "backbone": "tiny",
            "architecture": "tiny",
            "weights": "random",
            "seed": 0,
            "versions": {"numpy": "2.0"},
        },
        "preprocess": {"height": 4, "width": 4, "crop_pct": 1.0, "mean": (0.5,) * 3, "std": (0.5,) * 3},
        "inputs": ({"name": "images", "shape": (None, 3, 4, 4), "meaning": "frames"},),
        "outputs": ({"name": "logits", "shape": (None, 2), "meaning": "answer"},),
        "sidecar": {
            "channels": 8,
            "tokens": 5,
            "tap_tokens": 1,
            "read_tokens": 1,
            "prefix_tokens": 1,
            "depth": 2,
            "adapt_blocks": 1,
            "heads": 2,
            "head_width": 4,
            "hidden": 16,
            "activation": "gelu",
            "norm_eps": 1e-6,
            "layer_scale": False,
            "qkv_bias": True,
            "proj_bias": True,
            "final_norm": True,
            "fc_norm": False,
            "pooling": "token",
            "pool_prefix": False,
            "attention_pool": None,
            "distilled": False,
            "classes": 2,
            "head_bias": True,
        },
        "moase": {"preset": "edge"},
        "engines": ({"file": "backbone.onnx", "opset": 18},),
        "parity": {"passed": True, "taps": 1e-7, "logits": 1e-7, "gradients": 1e-6, "tolerance": 1e-4},
        **changes,
    }


def steerable_fields() -> dict[str, Any]:
    """What a manifest says of an engine that can be steered, beside `fields`."""
    plain, blocks = fields(), (None, 2, 8)
    shift = {"name": "shift", "shape": blocks, "meaning": "moves patch tokens"}
    means = {"name": "token_means", "shape": blocks, "meaning": "mean patch tokens"}
    return {
        "steerable": True,
        "inputs": (*plain["inputs"], shift),
        "outputs": (*plain["outputs"], means),
    }


def make_artifact(folder: Path, *, age_days: float = 0, **changes: Any) -> Path:
    """Write a whole artifact, `age_days` older than `EPOCH`."""
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    write_manifest(folder, fields(created_at=EPOCH - timedelta(days=age_days), **changes))
    return folder


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object], *, reseal: bool = True) -> None:
    """Change the manifest's JSON in place; by default with a seal that fits, as a forger would."""
    path = folder / MANIFEST
    plain = json.loads(path.read_text())
    change(plain)
    if reseal:
        plain["manifest_sha256"] = seal(plain)
    path.write_text(json.dumps(plain))
