"""What an export refuses before it begins the long work."""

from __future__ import annotations

from pathlib import Path

import pytest

from moase_edge.errors import ConfigError
from moase_edge.export.bundle import ExportRequest, export_artifact
from tests.blocked import run_blocked


def test_a_place_that_is_no_new_folder_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stages: list[str] = []
    with pytest.raises(ConfigError, match="Name a folder below it"):
        export_artifact(ExportRequest("digits_vit"), Path(), on_stage=stages.append)
    assert (stages, list(tmp_path.iterdir())) == ([], [])


def test_a_missing_onnxruntime_is_named_before_anything_is_built(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from moase_edge.errors import EngineError
    from moase_edge.export.bundle import ExportRequest, export_artifact
    try:
        export_artifact(ExportRequest("digits_vit"), Path(sys.argv[1]), on_stage=print)
    except EngineError as exc:
        print(exc)
    """
    assert run_blocked(code, ["onnxruntime"], [tmp_path / "out"]).startswith("onnxruntime is not installed: ")
