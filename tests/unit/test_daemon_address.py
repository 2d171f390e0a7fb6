"""Addresses as people write them."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnerd.cli.daemon_address import read_address
from runnerd.errors import ClientError


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("127.0.0.1:12434/v1", "http://127.0.0.1:12434"),
        ("localhost:12440/v1/", "http://localhost:12440"),
        ("localhost:12440", "http://localhost:12440"),
        ("http://localhost:12440/v1?x#y", "http://localhost:12440"),
        ("HTTPS://example.org/", "https://example.org"),
        ("127.0.0.1", "http://127.0.0.1:12434"),
        ("example.org", "http://example.org:12434"),
        ("[::1]:80", "http://[::1]:80"),
        ("[::1]", "http://[::1]:12434"),
        ("::1", "http://[::1]:12434"),
        ("unix:///run/x", "unix:///run/x"),
        ("unix:/run/x", "unix:///run/x"),
        ("/run/x:80/s", "unix:///run/x:80/s"),
        ("run/x", f"unix://{Path.cwd()}/run/x"),
    ],
)
def test_meant(said: str, meant: str) -> None:
    """A path is a socket's; all else is a host, with the daemon's port unless one is said."""
    assert read_address(said) == meant


@pytest.mark.parametrize("said", ["12434", ":12434"])
def test_a_port_alone(said: str) -> None:
    """A number would be an address somewhere on the internet."""
    with pytest.raises(ClientError, match=r"HOST:PORT, such as --host 127\.0\.0\.1:12434"):
        read_address(said)


@pytest.mark.parametrize(
    "said", ["ftp://x", "http://", "x:y", "http://x:99999", "[::1", "unix://", "http://a b"]
)
def test_none(said: str) -> None:
    """What can be written is told."""
    with pytest.raises(ClientError, match="unix:///PATH"):
        read_address(said)


def test_a_socket_beside_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies here as a socket is meant, and no host of that name."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("runnerd.sock")
        assert read_address("runnerd.sock") == f"unix://{tmp_path}/runnerd.sock"
    Path("runnerd.sock").unlink()


@example("0\r/")
@given(st.text(st.sampled_from("a1:/[]@.?# \0\n%é") | st.characters(), max_size=30))
def test_whatever_is_said(said: str) -> None:
    """It is an address that can be used, or refused in words."""
    try:
        found = read_address(said)
    except ClientError:
        return
    assert re.fullmatch(r"unix:///[^\0]*|https?://[^/\s\0]+", found)
    assert read_address(found) == found
