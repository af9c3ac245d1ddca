"""`run --web`: refused before anything is loaded, served while the run lasts, gone with it."""

from __future__ import annotations

import json
import re
import signal
import threading
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from moase_edge.cli import main
from moase_edge.cli.run import WebArguments
from moase_edge.cli.run_web import open_web
from moase_edge.errors import ConfigError
from moase_edge.runtime.web.address import TOKEN_VARIABLE, listen
from tests.blocked import run_blocked
from tests.cli.commands import start, write_video

TOKEN = "0123456789abcdef"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a command that ends with code 2."""
    with pytest.raises(SystemExit) as caught:
        main(["run", "--source", "no-such-video.mp4", "--artifact", "no-such-artifact", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_bad_address_is_refused_before_source_and_artifact_are_looked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert "HOST:PORT" in refused(["--web", "8080"], capsys)
    assert "needs a token" in refused(["--web", "0.0.0.0:0"], capsys)
    assert "12 characters" in refused(["--web", "127.0.0.1:0", "--web-token", "short"], capsys)
    assert "Give --web too" in refused(["--web-token", TOKEN], capsys)
    taken = listen("127.0.0.1:0", None)
    try:
        assert "Take another port" in refused(["--web", f"127.0.0.1:{taken.port}"], capsys)
    finally:
        taken.close()


def test_the_token_is_taken_from_the_environment_too_and_the_option_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with ExitStack() as stack:
        from_environment = open_web(WebArguments("127.0.0.1:0"), stack)
        given = open_web(WebArguments("127.0.0.1:0", f"{TOKEN}-2"), stack)
        assert from_environment is not None
        assert given is not None
        assert (from_environment.token, given.token) == (TOKEN, f"{TOKEN}-2")
        assert open_web(WebArguments(), stack) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    with ExitStack() as stack, pytest.raises(ConfigError, match="needs a token"):
        open_web(WebArguments("0.0.0.0:0"), stack)


def test_without_the_packages_the_extra_is_named() -> None:
    code = """
    from contextlib import ExitStack
    from moase_edge.cli.run import WebArguments
    from moase_edge.cli.run_web import open_web
    from moase_edge.errors import ConfigError
    try:
        open_web(WebArguments("127.0.0.1:0"), ExitStack())
    except ConfigError as exc:
        print(exc)
    """
    assert "moase-edge[web]" in run_blocked(code, ("starlette", "uvicorn"))


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_run_is_served_while_it_lasts_and_ctrl_c_ends_both(digits_artifact: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", 3000)
    options = ["--source", video, "--pace", "real", "--artifact", digits_artifact, "--report", tmp_path / "report"]
    arguments = ["run", *options, "--state", tmp_path / "state", "--web", "127.0.0.1:0"]
    with start(arguments) as process:
        said = [process.stderr.readline()]
        while not said[-1].startswith("web "):
            assert said[-1], said
            said.append(process.stderr.readline())
        port = int(re.search(r":(\d+)/$", said[-1].strip())[1])
        drained = threading.Thread(target=process.stderr.read)
        drained.start()
        status = ask(port, "/api/v1/status")[1]
        assert status["adapt"] == "every"
        assert ask(port, "/api/v1/controls/hold", "POST")[0] == 200
        assert ask(port, "/api/v1/status")[1]["held"]
        assert ask(port, "/api/v1/controls/snapshot", "POST")[0] == 200
        assert ask(port, "/api/v1/controls/rollback", "POST")[0] == 200
        reader = HTTPConnection("127.0.0.1", port, timeout=20)
        reader.request("GET", "/stream.mjpg")
        assert reader.getresponse().read(1000).startswith(b"--frame")
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 130
        drained.join()
        reader.close()
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["ended"] == "it was interrupted"
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/healthz")
