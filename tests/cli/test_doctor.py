from __future__ import annotations

import json
from pathlib import Path

import pytest

from moase_edge.cli import main
from moase_edge.runtime.doctor import examine as page
from moase_edge.runtime.doctor.finding import Finding


def doctor(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as end:
        main(["doctor", *arguments])
    captured = capsys.readouterr()
    assert end.value.code == code, captured.err
    return captured.out, captured.err


def test_the_page_tells_packages_engines_the_machine_and_what_would_run_the_artifact(
    digits_artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, _ = doctor(["--artifact", str(digits_artifact), "--json"], capsys)
    findings = {(finding["part"], finding["name"]): finding for finding in json.loads(shown)}
    assert {part for part, _ in findings} == {"packages", "engines", "machine", "artifact"}
    assert findings["packages", "torch"]["state"] == "ok"
    assert "backbone.onnx (fp32)" in findings["artifact", "engine"]["found"]
    assert "moase-edge calibrate" in findings["artifact", "source statistics"]["advice"]


def test_what_is_known_to_fail_ends_with_4_after_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = Finding("packages", "[b]numpy", "0.1", "bad", "install a newer one")
    monkeypatch.setattr(page, "look_at_packages", lambda: [bad])
    monkeypatch.chdir(tmp_path)
    shown, error = doctor([], capsys, code=4)
    assert "[b]numpy" in shown
    assert "install a newer one" in shown
    assert "known to fail here: [b]numpy" in error


def test_an_artifact_that_was_named_and_cannot_be_read_is_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, error = doctor(["--artifact", str(tmp_path / "gone")], capsys, code=4)
    assert "gone" in error
