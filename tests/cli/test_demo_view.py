"""What `demo` says of its two runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moase_edge.bench.demo import DemoOutcome
from moase_edge.cli.demo_view import DemoView
from moase_edge.report.tables import Table


@pytest.mark.parametrize(("differing", "words"), [(0, "none of 80"), (1, "1 of 80"), (80, "80 of 80")])
def test_it_tells_how_many_answers_learning_changed(
    differing: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"frames": 80, "differs_from_frozen": differing}
    (tmp_path / "demo.json").write_text(json.dumps({"adapting": {"counts": counts}}))
    table = Table("t", ("a",), [("x",)])
    DemoView().show(DemoOutcome(table, table, tmp_path / "report.html", updates=80))
    said = f"80 updates without a label; {words} adapting answers differ from the frozen ones\n"
    assert said in capsys.readouterr().out
