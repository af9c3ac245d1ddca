"""Where the view listens."""

from __future__ import annotations

from contextlib import closing

import pytest

from moase_edge.errors import ConfigError
from moase_edge.runtime.web.address import listen

TOKEN = "0123456789abcdef"


def test_port_0_takes_a_free_port_and_the_address_says_which() -> None:
    with closing(listen("127.0.0.1:0", None)) as address:
        assert address.port > 0
        assert address.url == f"http://127.0.0.1:{address.port}/"
        assert address.loopback


def test_a_port_that_is_taken_is_refused() -> None:
    with closing(listen("localhost:0", None)) as address:
        with pytest.raises(ConfigError, match="Take another port"):
            listen(f"{address.host}:{address.port}", None)


@pytest.mark.parametrize(
    "address",
    ["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:66000", "::1:8080", "http://127.0.0.1:80", "[]:1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        listen(address, None)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_an_address_that_others_reach_needs_a_token_which_is_never_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="MOASE_EDGE_WEB_TOKEN"):
        listen(address, None)
    with closing(listen("0.0.0.0:0", TOKEN)) as listening:
        assert not listening.loopback
        assert TOKEN not in repr(listening)
        assert "0.0.0.0" not in listening.url


@pytest.mark.parametrize("token", ["", "short", "has a space in it", "ümlaut-and-more"])
def test_a_weak_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ConfigError, match="12 characters") as caught:
        listen("127.0.0.1:0", token)
    assert not token or token not in str(caught.value)
