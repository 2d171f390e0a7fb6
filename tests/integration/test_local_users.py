"""Users of this host: the same principal over loopback TCP as over the Unix socket.

With the shipped units any user of the host could delete, configure and pull models and read the
logs over 127.0.0.1, although the socket's group kept them out.
"""

from __future__ import annotations

import contextlib
import json
import pwd
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.strangers import NOBODY, Response, ask_as, needs_root

pytestmark = needs_root()

Ask = Callable[..., Response]
USERS, OWNERS = 4242, 4243  # gids that nobody on this host has
_MANAGING = [
    ("DELETE", "/models/ai/tiny", None),
    ("DELETE", "/api/delete", {"model": "ai/tiny"}),
    ("POST", "/models/create", {"from": "ai/other"}),
    ("POST", "/api/pull", {"model": "ai/other"}),
    ("POST", "/models/import", {"path": "/etc/passwd", "tag": "x"}),
    ("POST", "/engines/_configure", {"model": "ai/tiny", "context-size": 64}),
    ("POST", "/engines/unload", {"all": True}),
    ("GET", "/logs", None),
    ("GET", "/runnerd/users", None),
    ("GET", "/runnerd/audit", None),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon as the shipped units start it, with a socket that lets everybody in."""
    folder = tmp_path_factory.mktemp("local")
    with running(folder / "d", env={"RUNNERD_SOCKET_MODE": "0666"}) as daemon:
        daemon.runtime_dir.chmod(0o755)
        file = folder / "tiny.gguf"
        tiny.write_completion_model(file)
        daemon.import_model(file, "ai/tiny")
        yield daemon


@pytest.fixture(params=["unix", "tcp"])
def ask(request: pytest.FixtureRequest, daemon: DaemonProcess) -> Ask:
    """Asks as the user nobody, over either listener."""
    where = str(daemon.socket) if request.param == "unix" else _port_of(daemon)
    return lambda *arguments, **more: ask_as(NOBODY, where, *arguments, **more)


def _port_of(daemon: DaemonProcess) -> str:
    return daemon.address.removeprefix("http://")


@pytest.mark.parametrize(("method", "path", "document"), _MANAGING)
def test_another_user_manages_nothing(
    ask: Ask, method: str, path: str, document: dict[str, object] | None
) -> None:
    """Neither in Docker's nor in Ollama's dialect, over neither listener."""
    body = None if document is None else json.dumps(document)
    response = ask(method, path, headers={"Content-Type": "application/json"}, body=body)
    assert response.status == 403, response.text
    assert "permission" in response.text


def test_another_user_sees_and_uses_models(ask: Ask) -> None:
    """As before."""
    assert ask("GET", "/models").status == 200
    assert "tiny" in ask("GET", "/api/tags").text


def test_the_model_is_still_there(daemon: DaemonProcess) -> None:
    """None of that has changed anything, and the owner may over TCP what nobody may not."""
    with socket.create_connection(_split(_port_of(daemon))) as connection:
        connection.sendall(b"GET /logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert daemon.http.get("/models").json()


def test_a_proxy_of_the_owner_makes_nobody_an_owner(daemon: DaemonProcess) -> None:
    """A request that a proxy passes on is not its user's own."""
    for header in ("X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1", "Via: 1.1 x"):
        with socket.create_connection(_split(_port_of(daemon))) as connection:
            head = f"GET /logs HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            assert connection.recv(12) == b"HTTP/1.1 403"


def test_a_group_of_users_keeps_others_out(tmp_path: Path) -> None:
    """Where the file's mode lets them in, and over TCP; its members and the owners' may."""
    env = {
        "RUNNERD_SOCKET_MODE": "0666",
        "RUNNERD_USER_GROUP": str(USERS),
        "RUNNERD_OWNER_GROUP": str(OWNERS),
    }
    with running(tmp_path / "d", env=env) as daemon:
        daemon.runtime_dir.chmod(0o755)
        where, port = str(daemon.socket), _port_of(daemon)
        assert ask_as(NOBODY, where, "GET", "/models").status == 401
        assert ask_as(NOBODY, port, "GET", "/models").status == 401
        assert ask_as(NOBODY, where, "GET", "/models", groups=(USERS,)).status == 200
        assert ask_as(NOBODY, where, "GET", "/logs", groups=(USERS,)).status == 403
        assert ask_as(NOBODY, where, "GET", "/models", groups=(7, OWNERS)).status == 200
        assert ask_as(NOBODY, where, "GET", "/runnerd/users", groups=(7, OWNERS)).status == 200
        assert daemon.http.get("/logs?follow=false").status_code == 200  # root


def test_a_group_counts_over_tcp(tmp_path: Path) -> None:
    """There the user database says it: the group of nobody is one of its user's."""
    with running(tmp_path / "d", env={"RUNNERD_OWNER_GROUP": _group_of(NOBODY)}) as daemon:
        assert ask_as(NOBODY, _port_of(daemon), "GET", "/runnerd/users").status == 200
        assert ask_as(2**20 + 7, _port_of(daemon), "GET", "/runnerd/users").status == 403


def _group_of(uid: int) -> str:
    return str(pwd.getpwuid(uid).pw_gid)


def test_require_keys_closes_the_host(tmp_path: Path) -> None:
    """Whoever is no owner shows a key, over either listener; health stays public."""
    with running(
        tmp_path / "d", env={"RUNNERD_SOCKET_MODE": "0666", "RUNNERD_REQUIRE_KEYS": "1"}
    ) as daemon:
        daemon.runtime_dir.chmod(0o755)
        body = {"name": "guest", "may": ["view_llms"]}
        key = daemon.http.post("/runnerd/users", json=body).json()["key"]
        for where in (str(daemon.socket), _port_of(daemon)):
            refused = ask_as(NOBODY, where, "GET", "/models")
            assert refused.status == 401, refused.text
            assert ask_as(NOBODY, where, "GET", "/health").status == 200
            let_in = ask_as(
                NOBODY, where, "GET", "/models", headers={"Authorization": f"Bearer {key}"}
            )
            assert let_in.status == 200, let_in.text


def test_new_rules_end_what_they_do_not_let_in(tmp_path: Path) -> None:
    """What the owner reads over TCP ends once TCP is said to be a proxy's."""
    settings = tmp_path / "runnerd.toml"
    settings.write_text("")
    with running(tmp_path / "d", env={"RUNNERD_CONFIG": str(settings)}) as daemon:
        with socket.create_connection(_split(_port_of(daemon)), 60) as connection:
            connection.sendall(b"GET /logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            settings.write_text('trusted_proxies = ["127.0.0.1"]\n')
            daemon.reload()
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
        assert daemon.http.get("/runnerd/users").status_code == 200  # by the Unix socket


def _split(where: str) -> tuple[str, int]:
    host, port = where.rsplit(":", 1)
    return host, int(port)
