"""What listeners are said to listen on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runnerd.sockets.addresses import address_of, tcp_addresses
from tests.support.ports import has_ipv6


def test_each_kind_of_listener(tmp_path: Path) -> None:
    """As a client would write it; IPv6 in brackets."""
    if not has_ipv6():
        pytest.skip("this host has no IPv6")
    with (
        socket.socket(socket.AF_UNIX) as local,
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        local.bind(str(tmp_path / "s"))
        assert address_of(local) == f"unix://{tmp_path}/s"
        assert address_of(four) == f"http://127.0.0.1:{four.getsockname()[1]}"
        assert address_of(six) == f"http://[::1]:{six.getsockname()[1]}"
        assert tcp_addresses([local, four, six]) == ["127.0.0.1", "::1"]
    (tmp_path / "s").unlink()
