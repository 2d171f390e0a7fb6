"""Who is let in by Host and Origin."""

from __future__ import annotations

import pytest

from runnerd.errors import ClientError, Forbidden
from runnerd.relay.admission import Admission

ADMISSION = Admission(hosts=["gpu.example.org"], origins=["https://chat.example.org"])


@pytest.mark.parametrize(
    "host",
    [
        b"localhost", b"LOCALHOST:12434", b"127.0.0.1:12434", b"127.9.9.9", b"[::1]:80", b"[::1]",
        b"gpu.example.org", b"GPU.example.org.:443",
    ],
)  # fmt: skip
def test_own_name_is_accepted(host: bytes) -> None:
    """Loopback names and the configured ones, in any spelling that HTTP allows."""
    ADMISSION.check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"evil.com",
        b"localhost.evil.com",
        b"127.0.0.1.evil.com",
        b"10.0.0.1",
        b"[fe80::1]",
        b"0.0.0.0",
    ],
)
def test_foreign_name_is_forbidden(host: bytes) -> None:
    """A name that is not ours is 403: this is how DNS rebinding shows."""
    with pytest.raises(Forbidden):
        ADMISSION.check_host(host)


@pytest.mark.parametrize(
    "host", [None, b"", b"a b", b"x/health?", b"good@evil", b"a:b:c", b"h\xff"]
)
def test_malformed_name_is_a_bad_request(host: bytes | None) -> None:
    """What is no host name is 400, and not forbidden."""
    with pytest.raises(ClientError) as caught:
        ADMISSION.check_host(host)
    assert caught.value.status == 400


def test_origins() -> None:
    """No origin and a listed one pass; every other one is 403."""
    ADMISSION.check_origin(None, None)
    ADMISSION.check_origin(None, b"same-origin")
    ADMISSION.check_origin(b"https://chat.example.org", b"cross-site")
    for origin in (b"https://evil.com", b"null", b"http://chat.example.org", b"http://localhost"):
        with pytest.raises(Forbidden):
            ADMISSION.check_origin(origin, None)
    with pytest.raises(Forbidden):
        ADMISSION.check_origin(None, b"cross-site")
