"""What `demo` shows."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType

from rich.console import Console

from moase_edge.bench.demo import SUMMARY, DemoOutcome
from moase_edge.report.files import read_json
from moase_edge.report.tables import to_rich


class DemoView:
    """A line per stage on standard error, the two tables on standard output."""

    def __init__(self) -> None:
        self._began_s = perf_counter()
        self._console = Console(stderr=True)

    def __enter__(self) -> DemoView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stage("end")

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._console.print(f"  {perf_counter() - self._began_s:6.1f} s  {name}", markup=False, highlight=False)

    def show(self, outcome: DemoOutcome) -> None:
        """Errors and latency side by side, and where the report is."""
        console = Console()
        console.print(to_rich(outcome.errors))
        console.print(to_rich(outcome.latency))
        counts = read_json(outcome.page.with_name(SUMMARY))["adapting"]["counts"]
        console.print(
            f"{outcome.updates} updates without a label; {counts['differs_from_frozen'] or 'none'} of "
            f"{counts['frames']} adapting answers differ from the frozen ones",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"report: {outcome.page}", markup=False, highlight=False, soft_wrap=True)
