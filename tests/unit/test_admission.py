"""Who is let in by Host and Origin."""

from __future__ import annotations

import pytest

from runnerd.errors import ClientError, Forbidden
from runnerd.relay.admission import Admission
from runnerd.relay.host_names import HostNames
from runnerd.relay.origins import Origins

ADMISSION = Admission(HostNames(["gpu.example.org"]), Origins(["https://chat.example.org"]))
REMOTE = Admission(HostNames(["*.corp.example"], ["0.0.0.0"], "gpu7"))


@pytest.mark.parametrize(
    "host",
    [
        b"localhost", b"LOCALHOST:12434", b"127.0.0.1:12434", b"127.9.9.9", b"[::1]:80", b"[::1]",
        b"gpu.example.org", b"GPU.example.org.:443", b"chat.localhost:3000",
        b"host.docker.internal:12434", b"model-runner.docker.internal", b"host.containers.internal",
    ],
)  # fmt: skip
def test_own_name_is_accepted(host: bytes) -> None:
    """Loopback names, what containers call us, and the configured ones, in any spelling."""
    ADMISSION.check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"evil.com", b"localhost.evil.com", b"127.0.0.1.evil.com", b"10.0.0.1", b"[fe80::1]",
        b"0.0.0.0", b"notlocalhost", b"evil.internal", b"host.docker.internal.evil.com",
    ],
)  # fmt: skip
def test_foreign_name_is_forbidden(host: bytes) -> None:
    """A name that is not ours is 403: this is how DNS rebinding shows."""
    with pytest.raises(Forbidden):
        ADMISSION.check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"gpu7:12434", b"GPU7.local:12434", b"gpu7.lan", b"gpu7.home.arpa", b"192.168.1.5:12434",
        b"[fd00::5]:12434", b"0.0.0.0:12434", b"a.corp.example", b"localhost",
    ],
)  # fmt: skip
def test_names_of_a_machine_that_others_reach(host: bytes) -> None:
    """Bound beyond loopback, this machine's name and every address of it are its names."""
    REMOTE.check_host(host)


@pytest.mark.parametrize(
    "host", [b"gpu8", b"gpu7.evil.com", b"evil.local", b"evil.lan", b"corp.example.evil.com"]
)
def test_other_names_stay_foreign_beyond_loopback(host: bytes) -> None:
    """Also names that a network could give to anybody."""
    with pytest.raises(Forbidden, match=r"RUNNERD_ALLOWED_HOSTS"):
        REMOTE.check_host(host)


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
    for origin in (b"https://evil.com", b"null", b"http://chat.example.org", b"file://"):
        with pytest.raises(Forbidden):
            ADMISSION.check_origin(origin, None)
    with pytest.raises(Forbidden):
        ADMISSION.check_origin(None, b"cross-site")


_LOCAL = [
    "http://localhost:3000", "https://localhost", "http://127.0.0.1:8080", "http://[::1]:5173",
    "http://app.localhost:1", "app://obsidian.md", "tauri://localhost", "http://tauri.localhost",
    "capacitor://localhost", "ionic://localhost", "vscode-webview://1a2b3c", "vscode-file://x",
]  # fmt: skip


@pytest.mark.parametrize("origin", _LOCAL)
def test_local_pages_and_apps(origin: str) -> None:
    """They are let in unless the owner does not want that."""
    ADMISSION.check_origin(origin.encode(), b"cross-site")
    with pytest.raises(Forbidden):
        Admission(origins=Origins(local=False)).check_origin(origin.encode(), None)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost.evil.com", "http://evil.com:3000", "http://localhost@evil.com",
        "http://127.0.0.1.evil.com", "https://evil.com/localhost", "chrome-extension://abc",
        "http://localhost:3000/", "HTTP://localhost", "http://evil-localhost", "apps://x", "",
    ],
)  # fmt: skip
def test_what_only_looks_local(origin: str) -> None:
    """Foreign sites stay out."""
    with pytest.raises(Forbidden, match="RUNNERD_ALLOWED_ORIGINS"):
        ADMISSION.check_origin(origin.encode(), None)


def test_page_of_the_same_host() -> None:
    """Another port of the name that the page used for us is this machine; a wildcard is not."""
    REMOTE.check_origin(b"http://gpu7.lan:3000", None, b"gpu7.lan:12434")
    REMOTE.check_origin(b"http://192.168.1.5:3000", None, b"192.168.1.5:12434")
    for origin, host in (
        (b"http://192.168.1.6:3000", b"192.168.1.5:12434"),
        (b"http://a.corp.example", b"a.corp.example"),
        (b"http://host.docker.internal", b"host.docker.internal:12434"),
    ):
        with pytest.raises(Forbidden):
            REMOTE.check_origin(origin, None, host)
    anybody = Admission(HostNames(["*"]))
    with pytest.raises(Forbidden):
        anybody.check_origin(b"http://evil.com", None, b"evil.com")


def test_who_may_read_that_it_is_refused() -> None:
    """A program may, and its preflight passes; a web site learns nothing."""
    for origin in (b"chrome-extension://abc", b"foo://bar"):
        assert b"Allow-Origin: " + origin in ADMISSION.cors_lines(origin, None)
        ADMISSION.check_origin(origin, None, preflight=True)
    for origin in (b"https://evil.com", b"null", b"http://evil.com:1"):
        assert ADMISSION.cors_lines(origin, None) == b""
        with pytest.raises(Forbidden):
            ADMISSION.check_origin(origin, None, preflight=True)
