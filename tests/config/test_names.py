"""Names that settings offer are the keys of the dicts that own them (the learner's: see tests/adapt)."""

from __future__ import annotations

from typing import get_args

from PIL import Image

from moase_edge.artifact.crop import resized_size
from moase_edge.artifact.preprocess_spec import CropMode, Interpolation, PreprocessSpec
from moase_edge.config.names import EngineName
from moase_edge.engines.choose import Runner
from moase_edge.engines.onnx_runtime import PROVIDERS, Provider
from tests.blocked import run_blocked


def test_literals_equal_the_keys_of_their_owners() -> None:
    assert set(get_args(Interpolation)) <= {name.lower() for name in Image.Resampling.__members__}
    assert set(get_args(Provider)) == set(PROVIDERS)
    assert set(get_args(EngineName)) == {"auto", *get_args(Runner)}


def test_every_crop_mode_is_known_to_the_preprocessor() -> None:
    for mode in get_args(CropMode):
        spec = PreprocessSpec(height=4, width=4, crop_pct=0.5, crop_mode=mode, mean=(0, 0, 0), std=(1, 1, 1))
        fitted = {"center": (8, 16), "squash": (8, 8), "border": (4, 8)}[mode]
        assert resized_size(spec, 10, 20) == fitted


def test_settings_need_no_heavy_package() -> None:
    run_blocked(
        """
        import importlib, pkgutil
        import moase_edge.artifact, moase_edge.config
        for package in (moase_edge.config, moase_edge.artifact):
            for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
                importlib.import_module(module.name)
        """,
        blocked=["torch", "torchvision", "timm", "onnx", "onnxruntime", "cv2", "PIL", "matplotlib", "sklearn"],
    )
