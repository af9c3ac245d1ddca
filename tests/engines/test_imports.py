from __future__ import annotations

from pathlib import Path

from tests.blocked import run_blocked

RUN = """
    import sys
    from pathlib import Path
    import numpy as np
    from moase_edge.artifact.store import load_artifact
    from moase_edge.engines.open import open_engine
    engine = open_engine(load_artifact(Path(sys.argv[1])), "ort", threads=1)
    print(engine.run(np.zeros((2, 3, 32, 32), np.float32))["logits"].shape)
    engine.close()
"""
REFUSED = """
    import sys
    from pathlib import Path
    from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
    from moase_edge.errors import EngineError
    try:
        OnnxRuntimeEngine(Path(sys.argv[1]))
    except EngineError as exc:
        print(exc)
"""


def test_an_artifact_runs_without_torch_timm_and_onnx(digits_artifact: Path) -> None:
    assert run_blocked(RUN, {"torch", "torchvision", "timm", "onnx"}, [digits_artifact]) == "(2, 10)\n"


def test_missing_onnx_runtime_says_what_to_install(tmp_path: Path) -> None:
    printed = run_blocked(REFUSED, {"onnxruntime"}, [tmp_path / "a.onnx"])
    assert printed.startswith("onnxruntime is not installed: `pip install 'moase-edge[cpu]'`")
