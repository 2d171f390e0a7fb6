"""Users' logins at registries and at the hub, through a real daemon: whose pulls they count for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_user_commands import document, runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import smallest_model
from tests.support.hub import HubServer, running_hub
from tests.support.members import Join, Member, joining
from tests.support.registry import running_registry

PATH = "/runnerd/logins"
NAME = "hf.co/org/Tiny-GGUF"
HASHED = "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu"  # bcrypt of "password"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A hub whose one repository is private."""
    with running_hub({"Tiny-Q8_0.gguf": smallest_model()}) as hub:
        hub.private = True
        yield hub


@pytest.fixture
def daemon(tmp_path: Path, hub: HubServer) -> Iterator[DaemonProcess]:
    settings = {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
    }
    with running(tmp_path / "daemon", env=settings) as daemon:
        yield daemon


@pytest.fixture
def join(daemon: DaemonProcess) -> Iterator[Join]:
    """Add users, until the end of the test."""
    with joining(daemon) as join:
        yield join


def log_in(member: Member, registry: str, password: str, username: str = "") -> None:
    said = {"registry": registry, "username": username, "password": password}
    response = member.http.post(PATH, json=said)
    assert response.status_code == 201, response.text
    assert password not in response.text


def pulls(member: Member, name: str) -> bool:
    """Whether a model can be pulled."""
    return '"success"' in member.http.post("/models/create", json={"from": name}).text


def test_the_hub(daemon: DaemonProcess, join: Join, hub: HubServer) -> None:
    """A token counts for its user's pulls, on both routes, until it is forgotten."""
    ann, bob = join("ann", may=["download_llm"]), join("bob", may=["download_llm"])
    log_in(ann, "hf.co", hub.token)
    log_in(bob, "hf.co", "wrong")
    assert not pulls(bob, NAME)
    refused = daemon.http.post("/models/create", json={"from": NAME})
    assert '"success"' not in refused.text  # it is not the owner's either
    assert pulls(ann, NAME)
    daemon.http.delete("/models/purge").raise_for_status()
    pulled = ann.http.post("/api/pull", json={"name": NAME, "stream": False})
    assert pulled.json() == {"status": "success"}
    daemon.http.delete("/models/purge").raise_for_status()
    assert ann.http.delete(f"{PATH}/hf.co").status_code == 200
    assert not pulls(ann, NAME)


def test_it_is_shown_to_nobody(
    daemon: DaemonProcess, join: Join, hub: HubServer, tmp_path: Path
) -> None:
    """Neither to its user, nor to others, nor in logs; a restart keeps it, its user's end not."""
    ann, boss = join("ann", may=["download_llm"]), join("boss", may=["superuser"])
    log_in(ann, "huggingface.co", hub.token)
    [shown] = ann.http.get(PATH).json()
    assert (shown["registry"], shown["username"]) == ("huggingface.co", "")
    assert boss.http.get(PATH).json() == []
    assert boss.http.delete(f"{PATH}/hf.co").status_code == 404
    assert "docker login" in daemon.http.get(PATH).json()["error"]["message"]
    daemon.kill()
    daemon.start()
    for member in (ann, boss):
        member.http.base_url = daemon.address
    assert ann.http.get(PATH).json() == [shown]
    assert pulls(ann, NAME)
    for path in ("/runnerd/users", "/runnerd/audit", "/logs", "/engines/requests", PATH):
        for client in (daemon.http, ann.http, boss.http):
            assert hub.token not in client.get(path).text
    assert hub.token not in daemon.text()
    ann.remove()
    [database] = tmp_path.rglob("runnerd.db")
    assert database.stat().st_mode & 0o077 == 0
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM logins").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"password": "x"}, "registry is required"),
        ({"registry": "a.org"}, "password is required"),
        ({"registry": "a.org/x", "password": "x"}, "HOST:PORT"),
        ({"registry": "a.org", "password": "two\nlines"}, "password"),
        ({"registry": "a.org", "password": "x" * 20000}, "password"),
        ({"registry": "a.org", "password": "x", "username": "a:b"}, "username"),
        ({"registry": "a.org", "password": "x", "token": "y"}, "token"),
    ],
)
def test_what_is_wrong(join: Join, said: dict[str, Any], words: str) -> None:
    """One line says what, without the secret."""
    response = join("ann").http.post(PATH, json=said)
    assert response.status_code == 400, response.text
    assert words in response.json()["error"]["message"]


def test_a_registry(tmp_path: Path) -> None:
    """A name and a password count for its user's pulls and pushes there."""
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text(f"user:{HASHED}\n")
    auth = f"auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n"
    with (
        running_registry(tmp_path / "registry", auth=auth) as registry,
        running(tmp_path / "daemon", env=registry.settings) as daemon,
    ):
        (tmp_path / "tiny.gguf").write_bytes(smallest_model())
        name = f"{registry.host}/private/tiny:v1"
        daemon.import_model(tmp_path / "tiny.gguf", name)
        boss = Member(daemon, "boss", may=["superuser"])
        bob = Member(daemon, "bob", may=["download_llm"])
        log_in(boss, registry.host, "password", "user")
        assert '"success"' in boss.http.post(f"/models/{name}/push").text
        assert daemon.http.post(f"/models/{name}/push").status_code == 401
        daemon.http.delete("/models/purge").raise_for_status()
        refused = bob.http.post("/models/create", json={"from": name})
        assert f"runnerd login {registry.host}" in refused.text
        log_in(bob, registry.host, "password", "user")
        assert pulls(bob, name)
        assert "password" not in daemon.text()
        for member in (boss, bob):
            member.http.close()


def test_commands(daemon: DaemonProcess, join: Join, hub: HubServer) -> None:
    """login, logins, logout; the token comes from standard input and is printed nowhere."""
    ann = join("ann", may=["download_llm"])
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "login", "hf.co",
         "--password-stdin"],
        input=f"{hub.token}\n", capture_output=True, text=True, timeout=60,
        env={**os.environ, "RUNNERD_KEY": ann.key},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert hub.token not in done.stdout + done.stderr
    [login] = document(daemon, "logins", key=ann.key)
    assert login["registry"] == "huggingface.co"
    assert "huggingface.co" in runnerd(daemon, "logins", key=ann.key)[1]
    status, out, _ = runnerd(daemon, "pull", NAME, key=ann.key)
    assert status == 0, out
    assert document(daemon, "logout", "hf.co", key=ann.key) == {"registry": "huggingface.co"}
    status, _, err = runnerd(daemon, "logout", "hf.co", key=ann.key)
    assert (status, "not logged in" in err) == (1, True)
    status, _, err = runnerd(daemon, "logins")
    assert (status, "docker login" in err) == (1, True)
