"""`runnerd user`, `key`, `usage`, `audit`, `backup` and `restore` against a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.access.users import key_digest
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path / "daemon") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def ann(unchanged: DaemonProcess) -> DaemonProcess:
    """A daemon with one user, for commands that change nothing."""
    assert runnerd(unchanged, "user", "add", "ann")[0] == 0
    return unchanged


def runnerd(daemon: DaemonProcess, *arguments: str, key: str = "") -> tuple[int, str, str]:
    """Run one command, with somebody's key; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RUNNERD_KEY": key},
    )
    return done.returncode, done.stdout, done.stderr


def document(daemon: DaemonProcess, *arguments: str, key: str = "") -> Any:
    """What a command that must not fail prints with --json."""
    status, out, err = runnerd(daemon, *arguments, "--json", key=key)
    assert status == 0, err
    return json.loads(out)


def test_a_users_way(daemon: DaemonProcess) -> None:
    """add, list, show, edit, rm; the key is told once, and nowhere else."""
    status, key, said = runnerd(daemon, "user", "add", "Ann")
    assert status == 0
    assert len(key.strip()) == 43
    assert "Ann may session, view_llms" in said
    shown = document(daemon, "user", "show", "ann")
    assert shown["name"] == "Ann"
    assert shown["may"] == ["session", "view_llms"]
    assert shown["active"] is True
    assert document(daemon, "user", "list") == [shown]
    assert "Ann" in runnerd(daemon, "user", "list")[1]

    made = document(
        daemon, "user", "add", "bob", "--may", "session,load-llm", "--models", "ai/*", "--limit",
        "requests_per_minute=60,priority=2", "--expires", "30d", "--label", "gateway",
    )  # fmt: skip
    assert set(made) == {"id", "name", "key"}
    bob = document(daemon, "user", "show", made["id"])
    assert bob["may"] == ["load_llm", "session"]
    assert bob["models"] == ["ai/*"]
    assert bob["limits"]["requests_per_minute"] == 60
    assert bob["limits"]["priority"] == 2
    assert bob["expires"]
    assert bob["keys"][0]["label"] == "gateway"

    edited = document(
        daemon, "user", "edit", "bob", "--limit", "tokens_per_day=1000", "--limit",
        "requests_per_minute=none", "--models", "*", "--name", "robert", "--expires", "never",
        "--may", "none", "--disable",
    )  # fmt: skip
    assert edited["name"] == "robert"
    assert edited["limits"] == {
        "requests_per_minute": None,
        "concurrent_requests": None,
        "tokens_per_day": 1000,
        "context": None,
        "priority": 2,
    }
    assert (edited["models"], edited["may"], edited["expires"]) == ([], [], None)
    assert (edited["disabled"], edited["active"]) == (True, False)
    assert "disabled" in runnerd(daemon, "user", "show", "robert")[1]
    assert runnerd(daemon, "user", "rm", "robert")[:2] == (
        0,
        "removed robert and all its keys\n",
    )
    assert [user["name"] for user in document(daemon, "user", "list")] == ["Ann"]

    secrets = (key.strip(), made["key"])
    for file in daemon.state_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), file
    assert not any(secret in daemon.text() for secret in secrets)
    assert not any(key_digest(secret) in daemon.text() for secret in secrets)


@pytest.mark.parametrize("command", ["add", "edit"])
@pytest.mark.parametrize(
    "option",
    [
        ("--models", ""),
        ("--models", " "),
        ("--models", ", ,"),
        ("--models", "ai/*", "--models", ""),
        ("--expires", ""),
        ("--may", ""),
        ("--limit", ""),
        ("--limit", "requests_per_minute="),
    ],
    ids="=".join,
)
def test_a_variable_that_is_not_set_gives_nothing(
    daemon: DaemonProcess, command: str, option: tuple[str, ...]
) -> None:
    """An empty restriction is a mistake, and not one less: nobody is made, nothing is changed."""
    if command == "edit":
        narrow = ("--models", "ai/*", "--limit", "requests_per_minute=1", "--expires", "1d")
        assert runnerd(daemon, "user", "add", "eve", *narrow)[0] == 0
    before = document(daemon, "user", "list")
    status, _, said = runnerd(daemon, "user", command, "eve", *option)
    assert status in (1, 2)
    assert option[-2] in said or repr(option[-1]) in said
    assert document(daemon, "user", "list") == before


def test_keys(daemon: DaemonProcess) -> None:
    """add, list, rotate and rm: a key that was replaced or revoked is gone."""
    runnerd(daemon, "user", "add", "ann")
    [first] = document(daemon, "key", "list")
    made = document(daemon, "key", "add", "ann", "--label", "laptop", "--expires", "12h")
    assert len(made["key"]) == 43
    assert [key["label"] for key in document(daemon, "key", "list", "ann")] == ["", "laptop"]
    assert "laptop" in runnerd(daemon, "key", "list")[1]
    rotated = document(daemon, "key", "rotate", made["id"])
    assert rotated["key"] != made["key"]
    assert (rotated["label"], rotated["expires"]) == ("laptop", made["expires"])
    assert runnerd(daemon, "key", "rm", first["id"])[:2] == (0, f"revoked {first['id']}\n")
    [left] = document(daemon, "key", "list")
    assert left["id"] == rotated["id"]
    assert "key" not in left
    status, _, said = runnerd(daemon, "key", "rm", made["id"])
    assert status == 1
    assert "runnerd key list" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "show", "anm"), "did you mean ann?"),
        (("user", "show", "somebody"), "runnerd user list"),
        (("user", "add", "ANN"), "already"),
        (("user", "add", "  "), "is empty"),
        (("user", "add", "a/b"), "no /"),
        (("user", "add", "eve", "--may", "sesion"), "did you mean session?"),
        (("user", "add", "eve", "--limit", "request_per_minute=1"), "requests_per_minute?"),
        (("user", "add", "eve", "--limit", "sixty"), "is no limit"),
        (("user", "add", "eve", "--expires", "soon"), "30d"),
        (("user", "edit", "ann"), "say what to change"),
        (("user", "rm", "bob"), "there is no user"),
        (("key", "add", "bob"), "there is no user"),
        (("key", "rotate", "0123"), "there is no key"),
        (("usage", "--days", "0"), "days"),
    ],
)
def test_what_is_wrong(ann: DaemonProcess, arguments: tuple[str, ...], said: str) -> None:
    """One line says what, and what to do."""
    before = ann.http.get("/runnerd/users").json()
    status, out, err = runnerd(ann, *arguments)
    assert ann.http.get("/runnerd/users").json() == before
    assert status == 1
    assert said in err
    assert out == ""
    assert err.count("\n") == 1


def test_wrong_usage(daemon: DaemonProcess) -> None:
    """Help names every command; without one there is a usage line."""
    for group in ("user", "key"):
        assert runnerd(daemon, group)[0] == 2
        status, out, _ = runnerd(daemon, group, "--help")
        assert status == 0
        assert "list" in out
        assert "rm" in out


def test_users_stay(tmp_path: Path) -> None:
    """A killed daemon has lost nobody whom it has acknowledged."""
    with running(tmp_path / "daemon") as daemon:
        for number in range(5):
            document(daemon, "user", "add", f"user{number}")
        daemon.kill()
        daemon.start()
        assert len(document(daemon, "user", "list")) == 5


def test_the_audit(daemon: DaemonProcess) -> None:
    """Who did what: changes, not what was only looked at or refused."""
    runnerd(daemon, "user", "add", "ann")
    runnerd(daemon, "user", "list")
    runnerd(daemon, "user", "rm", "nobody")
    runnerd(daemon, "user", "edit", "ann", "--may", "session,superuser")
    key = document(daemon, "key", "add", "ann")["id"]
    runnerd(daemon, "key", "rm", key)
    runnerd(daemon, "user", "rm", "ann")
    newest, *_, oldest = entries = document(daemon, "audit")
    assert {entry["action"] for entry in entries} == {"manage_users"}
    assert [(e["route"], e["subject"], e["status"]) for e in reversed(entries)] == [
        ("POST /runnerd/users", "name=ann", 201),
        ("POST /runnerd/users/{user}", "ann may=session,superuser", 200),
        ("POST /runnerd/users/{user}/keys", f"ann key={key}", 201),
        ("DELETE /runnerd/keys/{id}", f"ann key={key}", 200),
        ("DELETE /runnerd/users/{user}", "ann", 200),
    ]
    assert newest["who"] == f"uid {os.getuid()}"
    assert document(daemon, "audit", "-n", "1") == [newest]
    assert document(daemon, "audit", "--who", "ann") == []
    lines = runnerd(daemon, "audit")[1].splitlines()
    assert len(lines) == 5
    assert lines[0].endswith("manage_users POST /runnerd/users name=ann 201")
    assert oldest["time"] <= newest["time"]


def test_settings_are_audited(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A setting that SIGHUP has changed is named."""
    daemon.terminate()
    file = tmp_path / "settings.toml"
    file.write_text("queue_length = 5\n")
    daemon.start("--config", str(file))
    file.write_text("queue_length = 6\nturn = 2\n")
    daemon.reload()
    wait_for(lambda: document(daemon, "audit") != [], "the change to be kept")
    [entry] = document(daemon, "audit")
    assert (entry["who"], entry["action"]) == ("a signal", "change_settings")
    assert entry["subject"] == "queue_length, turn"


def test_who_one_is(daemon: DaemonProcess) -> None:
    """To the daemon: its owner, or whose key one has; what that allows and has used."""
    me = document(daemon, "whoami")
    assert (me["kind"], me["may"], me["name"]) == ("owner", ["superuser"], f"uid {os.getuid()}")
    key = document(
        daemon, "user", "add", "ann", "--models", "ai/*", "--limit", "tokens_per_day=1000"
    )["key"]
    me = document(daemon, "whoami", key=key)
    assert (me["kind"], me["name"]) == ("user", "ann")
    assert me["may"] == ["session", "view_llms"]
    assert me["models"] == ["ai/*"]
    assert me["limits"]["tokens_per_day"] == 1000
    assert me["usage"]["today"]["requests"] == 0
    assert runnerd(daemon, "ls", key=key)[0] == 0
    status, _, said = runnerd(daemon, "user", "list", key=key)
    assert status == 1
    assert "superuser" in said
    document(daemon, "user", "edit", "ann", "--may", "superuser")
    document(daemon, "user", "add", "bob", key=key)
    assert document(daemon, "audit")[0]["who"] == "ann"
    out = runnerd(daemon, "whoami", key=key)[1]
    assert "user:     ann" in out
    status, _, said = runnerd(daemon, "whoami", key=key[:-1] + "_")
    assert status == 1
    assert key[:-1] not in said


def test_a_page_does_not_act_for_the_owner(daemon: DaemonProcess) -> None:
    """Pages of this host may use models; what is the owner's takes a key from them."""
    page = {"Origin": "http://localhost:9999"}
    response = daemon.http.post("/runnerd/users", json={"name": "eve"}, headers=page)
    assert response.status_code == 403
    assert "pages of http://localhost:9999" in response.json()["error"]["message"]
    assert daemon.http.get("/runnerd/users", headers=page).status_code == 403
    assert daemon.http.get("/models", headers=page).status_code == 200
    response = daemon.http.post("/runnerd/users", json={"name": "ann", "may": ["superuser"]})
    assert response.headers["cache-control"] == "no-store"
    with_key = page | {"Authorization": f"Bearer {response.json()['key']}"}
    listed = daemon.http.get("/runnerd/users", headers=with_key)
    assert [user["name"] for user in listed.json()] == ["ann"]


def test_only_owners_are_told_of_the_owners_settings(daemon: DaemonProcess) -> None:
    """That requests are kept with their content is nothing that others can switch on."""
    _, key, _ = runnerd(daemon, "user", "add", "ann")
    status, out, err = runnerd(daemon, "requests", key=key.strip())
    assert (status, "STATUS" in out, err) == (0, True, "")
    assert "capture_requests" in runnerd(daemon, "requests")[2]


def test_backup_and_restore(daemon: DaemonProcess, tmp_path: Path) -> None:
    """What was backed up is there again, also in place of a damaged file."""
    runnerd(daemon, "user", "add", "ann")
    file = tmp_path / "backup"
    assert runnerd(daemon, "backup", str(file))[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert "--force" in runnerd(daemon, "backup", str(file))[2]  # it is there already
    wait_for(lambda: document(daemon, "audit")[0]["route"] == "POST /runnerd/backup", "the entry")
    assert document(daemon, "audit")[0]["status"] == 200
    runnerd(daemon, "user", "add", "bob")
    assert runnerd(daemon, "restore", str(file))[0] == 0
    assert [user["name"] for user in document(daemon, "user", "list")] == ["ann"]

    daemon.terminate()
    (daemon.state_dir / "runnerd.db").write_bytes(b"damaged")
    daemon.start()
    status, _, said = runnerd(daemon, "user", "add", "eve")
    assert status == 1
    assert "runnerd restore" in said
    assert daemon.http.get("/models").status_code == 200
    assert "database: the database runnerd.db is damaged" in runnerd(daemon, "status")[1]
    assert runnerd(daemon, "restore", str(file))[0] == 0
    assert document(daemon, "status")["database"]["problem"] is None
    assert [user["name"] for user in document(daemon, "user", "list")] == ["ann"]
    assert document(daemon, "user", "add", "eve")["name"] == "eve"


def test_what_cannot_be_restored(daemon: DaemonProcess, tmp_path: Path) -> None:
    """It is said why, and nothing changes."""
    runnerd(daemon, "user", "add", "ann")
    for content in (b"", b"no database" * 1000):
        (tmp_path / "wrong").write_bytes(content)
        status, _, said = runnerd(daemon, "restore", str(tmp_path / "wrong"))
        assert status == 1
        assert "not a backup" in said or "no body" in said
        assert "is damaged" not in said  # what the daemon has is well
    assert runnerd(daemon, "restore", str(tmp_path / "missing"))[0] == 1
    assert "not a folder" in runnerd(daemon, "backup", str(tmp_path / "missing" / "file"))[2]
    assert runnerd(daemon, "backup", str(tmp_path))[0] == 1
    assert [user["name"] for user in document(daemon, "user", "list")] == ["ann"]
