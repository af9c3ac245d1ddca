from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for blocked in ("torch", "torchvision", "timm", "onnx", "onnxruntime", "matplotlib", "sklearn"):
    sys.modules[blocked] = None
import importlib, pkgutil
import numpy as np
import moase_edge.frames as package
names = [module.name for module in pkgutil.iter_modules(package.__path__)]
for name in names:
    importlib.import_module(f"moase_edge.frames.{name}")
assert {"open", "video", "camera", "images", "preprocess"} <= set(names), names
assert "cv2" not in sys.modules, "OpenCV is loaded before a video or camera is opened"
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.frames.preprocess import Preprocessor
spec = PreprocessSpec(height=8, width=8, crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1))
assert Preprocessor(spec)(np.zeros((9, 9, 3), np.uint8)).shape == (3, 8, 8)
"""


def test_frames_work_without_torch_timm_and_onnx_and_load_opencv_late() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
