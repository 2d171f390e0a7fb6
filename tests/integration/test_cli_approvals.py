"""`runnerd approvals`, `approve` and `reject` against a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.test_user_commands import document, runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.ggufs import smallest_model

MAY = "request_download,request_load,request_unload"


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with serving(smallest_model()) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, server: FileServer) -> Iterator[DaemonProcess]:
    settings = {
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{server.host}"]',
    }
    with running(tmp_path_factory.mktemp("daemon"), env=settings) as daemon:
        yield daemon


@pytest.fixture
def ann(daemon: DaemonProcess) -> Iterator[str]:
    """Ann's key."""
    yield document(daemon, "user", "add", "ann", "--may", MAY)["key"]
    runnerd(daemon, "user", "rm", "ann")


def test_from_asking_to_having(daemon: DaemonProcess, ann: str) -> None:
    """request, list, show, approve: the permissions are the user's."""
    asked = document(
        daemon, "approvals", "request", "permissions", "session,load-llm", "--reason", "a demo",
        key=ann,
    )  # fmt: skip
    assert asked["request"] == {"may": ["load_llm", "session"]}
    for key in (ann, ""):
        assert document(daemon, "approvals", key=key) == [asked]
        assert document(daemon, "approvals", "list", key=key) == [asked]
        assert document(daemon, "approvals", "show", asked["id"][:4], key=key) == asked
    status, out, _ = runnerd(daemon, "approvals")
    assert status == 0
    head, line = out.splitlines()
    assert head.split() == ["ID", "USER", "TYPE", "WHAT", "STATE", "ASKED", "REASON"]
    assert line.split()[:5] == [
        asked["id"][:8], "ann", "permissions", "load_llm,session", "pending",
    ]  # fmt: skip
    assert line.endswith("a demo")
    assert json.loads(runnerd(daemon, "approvals", "--json", "list")[1]) == [asked]
    assert document(daemon, "approve", asked["id"][:8])["state"] == "accepted"
    assert document(daemon, "whoami", key=ann)["may"] == ["load_llm", "session"]
    assert document(daemon, "approvals", "list", "--state", "pending") == []
    assert "accepted" in runnerd(daemon, "approvals", "show", asked["id"])[1]


def test_rejecting(daemon: DaemonProcess, ann: str) -> None:
    """By either form; who approves afterwards is told."""
    for command in (("reject",), ("approvals", "reject")):
        asked = document(daemon, "approvals", "request", "permissions", "none", key=ann)
        assert document(daemon, *command, asked["id"])["state"] == "rejected"
        status, out, err = runnerd(daemon, "approve", asked["id"])
        assert (status, out) == (1, "")
        assert "has rejected this request before" in err


def test_why_it_was_rejected(daemon: DaemonProcess, ann: str) -> None:
    """The user reads it in the list and with the request."""
    asked = document(daemon, "approvals", "request", "permissions", "none", key=ann)
    assert "loses: " in runnerd(daemon, "approvals", "show", asked["id"])[1]
    document(daemon, "reject", asked["id"], "--reason", "not on Fridays")
    assert "not on Fridays" in runnerd(daemon, "approvals", key=ann)[1]
    assert "because:" in runnerd(daemon, "approvals", "show", asked["id"], key=ann)[1]


def test_withdrawing(daemon: DaemonProcess, ann: str) -> None:
    """By the beginning of its id."""
    asked = document(daemon, "approvals", "request", "download", "ai/m", "--tag", "ai/x", key=ann)
    assert "m as x" in runnerd(daemon, "approvals")[1]
    withdrawn = document(daemon, "approvals", "withdraw", asked["id"][:8], key=ann)
    assert withdrawn["state"] == "withdrawn"
    found = document(daemon, "approvals", "list", "--state", "withdrawn", key=ann)
    assert found == [withdrawn]


def test_a_download(daemon: DaemonProcess, ann: str, server: FileServer) -> None:
    """`approve` waits for the end: 1 and the reason where it has failed, 0 where it is done."""
    asked = document(
        daemon, "approvals", "request", "download", server.url(), "--tag", "ai/got", key=ann
    )
    server.behaviour.status = 404
    status, out, _ = runnerd(daemon, "approvals", "approve", asked["id"])
    assert status == 1
    assert "failed, pending" in out
    assert "does not have the file" in out
    assert "failed, pending" in runnerd(daemon, "approvals")[1]
    server.behaviour.status = 0
    status, out, _ = runnerd(daemon, "approve", asked["id"])
    assert status == 0
    assert "accepted" in out
    assert "got" in runnerd(daemon, "ls")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("approve", "0000"), "there is no request"),
        (("reject", " "), "the id is empty"),
        (("approvals", "show", "0" * 36), "there is no request"),
        (("approvals", "request", "load", "ai/m"), "has nobody to ask"),
        (("approvals", "list", "--user", "nobody-here"), "there is no user"),
    ],
)
def test_what_is_wrong(daemon: DaemonProcess, arguments: tuple[str, ...], said: str) -> None:
    """One line says what."""
    status, out, err = runnerd(daemon, *arguments)
    assert (status, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


def test_ids_that_begin_alike(daemon: DaemonProcess, ann: str) -> None:
    """The beginning of several is none of them."""
    asked = [
        document(daemon, "approvals", "request", "download", f"ai/m{number}", key=ann)["id"]
        for number in range(17)
    ]
    letters = [id[0] for id in asked]
    twice = next(letter for letter in letters if letters.count(letter) > 1)
    status, _, err = runnerd(daemon, "approve", twice)
    assert status == 1
    assert "could be any of" in err


def test_a_user_decides_nothing(daemon: DaemonProcess, ann: str) -> None:
    """Not even on what it has asked for itself."""
    asked = document(daemon, "approvals", "request", "permissions", "superuser", key=ann)
    status, _, err = runnerd(daemon, "approve", asked["id"], key=ann)
    assert status == 1
    assert "superuser" in err
    assert document(daemon, "whoami", key=ann)["may"] == sorted(MAY.split(","))


def test_help(daemon: DaemonProcess) -> None:
    """Names every command."""
    status, out, _ = runnerd(daemon, "approvals", "--help")
    assert status == 0
    for command in ("list", "show", "approve", "reject", "request", "withdraw"):
        assert command in out
    assert runnerd(daemon, "approvals", "request", "party", "x")[0] == 2
