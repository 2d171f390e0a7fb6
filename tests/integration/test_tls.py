"""TLS for clients over TCP, and what it takes to listen wider than loopback."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import running
from tests.support.plain_http import NO_TLS


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key; `name` is in its subject."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def shown_to(address: str, name: str | None, trusted: Path) -> ssl.SSLSocket:
    """A connection with TLS; `name` is what the client calls the host."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.check_hostname = False
    host, port = address.removeprefix("https://").rsplit(":", 1)
    raw = socket.create_connection((host, int(port)), 60)
    return context.wrap_socket(raw, server_hostname=name)


@pytest.mark.parametrize("name", ["localhost", None])
def test_a_renewed_certificate_counts_at_once_and_drops_nobody(
    tmp_path: Path, name: str | None
) -> None:
    """At SIGHUP, also for clients that name no host; who is connected stays."""
    first, second = certify(tmp_path, "first"), certify(tmp_path, "second")
    settings = tmp_path / "runnerd.toml"

    def show(pair: tuple[Path, Path]) -> None:
        settings.write_text(f'tls_certificate = "{pair[0]}"\ntls_key = "{pair[1]}"\n')

    show(first)
    with running(tmp_path / "d", "--config", str(settings)) as daemon:
        assert daemon.address.startswith("https://")
        context = ssl.create_default_context(cafile=str(first[0]))
        with httpx.Client(base_url=daemon.address, verify=context) as client:
            assert client.get("/models").status_code == 200
            assert client.get("/runnerd/users").status_code == 200  # the kernel's word, as before
            with shown_to(daemon.address, name, first[0]) as open_one:
                show(second)
                daemon.reload()
                shown_to(daemon.address, name, second[0]).close()
                with pytest.raises(ssl.SSLError):
                    shown_to(daemon.address, name, first[0])
                open_one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert open_one.recv(12) == b"HTTP/1.1 200"
            settings.write_text(f'tls_certificate = "{first[0]}"\ntls_key = "{second[1]}"\n')
            daemon.reload()
            assert "is not the key of" in daemon.text()
            shown_to(daemon.address, name, second[0]).close()


def test_the_command_line_says_which_certificate_it_does_not_trust(tmp_path: Path) -> None:
    """And how to name it, which works then."""
    certificate, key = certify(tmp_path, "own")
    settings = tmp_path / "runnerd.toml"
    settings.write_text(f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n')
    with running(tmp_path / "d", "--config", str(settings)) as daemon:

        def whoami(**environment: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "runnerd", "--host", daemon.address, "whoami"],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=60,
            )

        refused = whoami()
        assert refused.returncode == 1
        assert "not to be trusted" in refused.stderr
        assert "SSL_CERT_FILE" in refused.stderr
        assert whoami(SSL_CERT_FILE=str(certificate)).returncode == 0


def test_wider_than_loopback_takes_keys_and_tls(tmp_path: Path) -> None:
    """What lacks is said, one word after the other; with all of them it is listened on."""
    said = {
        "RUNNERD_ALLOW_REMOTE": "1",
        "RUNNERD_REQUIRE_KEYS": "1",
        "RUNNERD_TLS": "elsewhere",
    }
    for missing in (*said, None):
        env = {name: value for name, value in said.items() if name != missing}
        flags = ("--listen", "0.0.0.0:0")
        with running(tmp_path / "d", *flags, env=env, ready=missing is None) as daemon:
            if missing is None:
                address = daemon.address.replace("0.0.0.0", "127.0.0.1")
                assert httpx.get(f"{address}/models", verify=NO_TLS).status_code == 401
                assert httpx.get(f"{address}/health", verify=NO_TLS).status_code == 200
                assert daemon.http.get("/models").status_code == 200
                continue
            assert daemon.process is not None
            assert daemon.process.wait(60) == 1
            line = daemon.text().strip().splitlines()[-1]
            assert "refusing to listen on 0.0.0.0" in line
            assert missing in line
            for other in env:
                assert other not in line
