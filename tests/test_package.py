"""What holds for the package as a whole."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import moase_edge

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "moase_edge"
BENCHMARKS = ROOT / "benchmarks"


def test_public_names_can_be_imported() -> None:
    assert {name: getattr(moase_edge, name) is not None for name in moase_edge.__all__} == {
        "Pipeline": True,
        "Result": True,
        "__version__": True,
    }


def test_the_installed_version_is_the_package_s() -> None:
    assert metadata.version("moase-edge") == moase_edge.__version__


def test_files_are_at_most_350_lines_long() -> None:
    files = [path for folder in (PACKAGE, BENCHMARKS) for path in folder.rglob("*.py")]
    assert not {path.name: lines for path in files if (lines := _lines(path)) > 350}


def test_functions_are_at_most_40_lines_long() -> None:
    found = {name for folder in (PACKAGE, BENCHMARKS) for name, lines in _functions(folder) if lines > 40}
    assert found == set()


def test_constraints_name_no_host_and_no_path() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|/", text)
    assert all("==" in line for line in text.splitlines())


def test_every_package_says_what_it_is() -> None:
    silent = [path for path in PACKAGE.rglob("*.py") if not path.read_text(encoding="utf-8").startswith('"""')]
    assert not silent


def _functions(folder: Path) -> Iterator[tuple[str, int]]:
    """File and name of every function and method, and its lines from `def` to the last, docstring included."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path.relative_to(folder)} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
