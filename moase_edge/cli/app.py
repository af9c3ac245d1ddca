"""The `moase-edge` command and how it ends."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from moase_edge.cli.bench import bench
from moase_edge.cli.calibrate import calibrate
from moase_edge.cli.demo import demo
from moase_edge.cli.doctor import doctor
from moase_edge.cli.export import export
from moase_edge.cli.inspect import inspect
from moase_edge.cli.profile import profile
from moase_edge.cli.run import run
from moase_edge.cli.state import state
from moase_edge.errors import MoaseEdgeError
from moase_edge.version import __version__

app = typer.Typer(
    name="moase-edge",
    help="A frozen vision engine that keeps learning through a small sidecar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (export, run, profile, calibrate, inspect, doctor, bench, demo):
    # `run` answers words that belong to no option itself: they mostly come from a pattern that was not quoted.
    app.command(context_settings={"allow_extra_args": command is run})(command)
app.add_typer(state, name="state")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moase-edge {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and debug messages. May stand anywhere.")
    ] = False,
) -> None:
    """Options of every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with the error's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    logging.basicConfig(format="%(levelname)s: %(message)s", handlers=[_CurrentStderr()])
    logging.getLogger("moase_edge").setLevel(logging.DEBUG if debug else logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path that is no text is then shown with escapes; it would end the command otherwise.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(args=given, prog_name="moase-edge")
    except Exception as exc:
        if debug:
            raise
        typer.echo(f"error: {_message(exc)}", err=True)
        sys.exit(exc.exit_code if isinstance(exc, MoaseEdgeError) else MoaseEdgeError.exit_code)


class _CurrentStderr(logging.Handler):
    """Writes to what `sys.stderr` is at the time, so that a message does not tear a line of progress."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is None:  # closed before the process began; `print` would take standard output instead
            return
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            self.handleError(record)


def _message(exc: Exception) -> str:
    if isinstance(exc, MoaseEdgeError):
        return str(exc)
    if isinstance(exc, OSError) and exc.filename is None:
        return f"{exc}. Check where standard output leads, and that its disk has space; --debug shows more."
    return f"unexpected {type(exc).__name__}: {exc}. This is a fault of moase-edge; --debug shows where."
