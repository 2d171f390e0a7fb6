"""Pulls over https: whom the daemon believes, and that it is not talked down to http."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.test_pull_sources import create, refused
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.ggufs import smallest_model

SMALL = smallest_model()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that signs itself, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    return both


@pytest.fixture
def server(certificate: Path) -> Iterator[FileServer]:
    """A server that speaks https as localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(SMALL, tls=context) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[DaemonProcess]:
    """A daemon that believes this certificate and may reach localhost by its name only."""
    environment = {
        "SSL_CERT_FILE": str(certificate),
        "RUNNERD_ALLOWED_SOURCES": '["localhost", "127.0.0.1"]',
    }
    with running(tmp_path_factory.mktemp("daemon"), env=environment) as daemon:
        yield daemon


def address(server: FileServer, host: str = "localhost") -> str:
    """Return the model's address by one of the server's names."""
    return f"https://{host}:{server.host.partition(':')[2]}/model.gguf"


def test_certificate_for_the_name(daemon: DaemonProcess, server: FileServer) -> None:
    """The address that was checked is dialled, and the certificate is held to the name."""
    assert create(daemon, **{"from": address(server)})["type"] == "success"
    status, message = refused(daemon, **{"from": address(server, "127.0.0.1")})
    assert (status, "https that can be trusted" in message) == (502, True)


def test_never_from_https_to_http(daemon: DaemonProcess, server: FileServer) -> None:
    """Not even where plain http is allowed and the digest is known."""
    daemon.http.delete("/models/purge")
    with serving(SMALL) as plain:
        server.behaviour.location = plain.url()
        request = {"from": address(server), "sha256": sha256(SMALL).hexdigest(), "tag": "other"}
        assert refused(daemon, **request)[0] == 403
        assert plain.seen == []


def test_unknown_certificate(tmp_path: Path, server: FileServer) -> None:
    """A certificate that nobody vouches for is an error that says so."""
    with running(tmp_path, env={"RUNNERD_ALLOWED_SOURCES": '["localhost"]'}) as daemon:
        status, message = refused(daemon, **{"from": address(server)})
    assert (status, "https that can be trusted" in message) == (502, True)
    assert server.sent == 0
