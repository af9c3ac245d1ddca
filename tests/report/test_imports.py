"""Metrics and reports on a device that has neither PyTorch nor matplotlib."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

BLOCKED_RUN = """
    import importlib, json, pkgutil, sys
    from pathlib import Path

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {"torch", "timm", "onnx", "cv2", "matplotlib", "PIL", "sklearn", "rich"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Block())
    import moase_edge.metrics, moase_edge.report

    names = []
    for package in (moase_edge.metrics, moase_edge.report):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
            names.append(module.name)

    from moase_edge.errors import ConfigError
    from moase_edge.report.page import Section, write_page
    from moase_edge.report.plots import plot_errors_by_domain, plots_missing
    from moase_edge.report.tables import error_rows

    folder = Path(sys.argv[1])
    series = {"frozen": {"fog": 40.0}}
    try:
        plot_errors_by_domain(folder / "errors.png", series, "errors")
    except ConfigError as error:
        refused = str(error)
    write_page(folder / "report.html", "Run", [Section("Error", [plots_missing()], [error_rows(series)])])
    print(json.dumps({"names": names, "refused": refused}))
"""


def test_without_torch_and_matplotlib_a_report_has_tables_and_says_why_no_plots(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BLOCKED_RUN), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(run.stdout)
    assert {"moase_edge.metrics.trace", "moase_edge.report.plots"} <= set(found["names"])
    assert "pip install 'moase-edge[plot]'" in found["refused"]
    html = (tmp_path / "report.html").read_text()
    assert "There are no plots" in html
    assert "40.00" in html
