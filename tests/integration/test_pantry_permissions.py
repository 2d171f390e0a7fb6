"""Every call of Pantry's with every permission, over socket and TCP, as owner, users and strangers.

The calls ask for what there is not, so whoever is let in is told that; who is not is told nothing
of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.pantry import PERMISSIONS, ApiError, PantryClient, entry, may
from tests.support.pantry_daemon import PantryDaemon

NOBODYS = str(uuid4())
NIL = "00000000-0000-0000-0000-000000000000"
NO_ENTRY = entry("not an address")
ONE = {"llm_id": NOBODYS}
FLEX = {"filter": {"llm_id": "no such"}, "preference": None}
NEW: dict[str, Any] = {"user_session_parameters": {}}
SESSION = {"session_id": NOBODYS, "llm_uuid": NOBODYS}

CALLS: dict[str, tuple[str, dict[str, Any], int]] = {
    # what it takes, what is said, and what who may is told
    "request_permissions": ("", {"requested_permissions": may("session")}, 200),
    "get_request_status": ("", {"request_id": NOBODYS}, 404),
    "request_download": ("request_download", {"llm_registry_entry": NO_ENTRY}, 400),
    "request_load": ("request_load", ONE, 404),
    "request_load_flex": ("request_load", FLEX, 404),
    "request_unload": ("request_unload", ONE, 404),
    "get_llm_status": ("view_llms", ONE, 404),
    "get_available_llms": ("view_llms", {}, 200),
    "get_running_llms": ("view_llms", {}, 200),
    "request_running_llms": ("view_llms", {}, 200),
    "request_available_llms": ("view_llms", {}, 200),
    "load_llm": ("load_llm", ONE, 404),
    "load_llm_flex": ("load_llm", FLEX, 404),
    "unload_llm": ("unload_llm", ONE, 404),
    "download_llm": ("download_llm", {"llm_registry_entry": NO_ENTRY}, 400),
    "get_or_download_llm": ("download_llm", {"llm_registry_entry": NO_ENTRY}, 400),
    "create_session": ("session", NEW, 404),
    "create_session_id": ("session", {**ONE, **NEW}, 404),
    "create_session_flex": ("session", {**FLEX, **NEW}, 404),
    "prompt_session_stream": ("session", {**SESSION, "prompt": "x", "parameters": {}}, 404),
    "interrupt_session": ("session", SESSION, 404),
    "bare_model": ("bare_model", ONE, 404),
    "bare_model_flex": ("bare_model", FLEX, 404),
}


@pytest.fixture(scope="module")
def users(pantry: PantryDaemon) -> dict[str, tuple[str, str]]:
    """A user for each permission, and one with none: id and key."""
    found = {}
    for each in [*(name.removeprefix("perm_") for name in PERMISSIONS), "none"]:
        said = {"name": f"may {each}", "may": [] if each == "none" else [each]}
        made = pantry.daemon.http.post("/runnerd/users", json=said).raise_for_status().json()
        found[each] = made["id"], made["key"]
    return found


def status_of(client: PantryClient, name: str) -> tuple[int, str]:
    """The status and the text of a call's response."""
    try:
        client.call(name, **CALLS[name][1])
    except ApiError as error:
        return error.status, error.body if error.media_type.startswith("text/plain") else ""
    return 200, ""


def test_the_calls_are_all(pantry: PantryDaemon) -> None:
    """The 22 calls of the documentation, `get_or_download_llm`, and names that went before."""
    assert len(CALLS) == 23
    document = Path("tests/support/route_permissions.txt").read_text()
    named = {line.split()[1] for line in document.splitlines() if "_" in line.split()[1]}
    assert {f"/{name}" for name in (*CALLS, "register_user")} <= named


@pytest.mark.covers("Pantry errors", "401", note="also for a permission that is missing")
@pytest.mark.covers("Pantry errors", "404")
@pytest.mark.parametrize("name", CALLS)
def test_permissions(
    pantry: PantryDaemon, users: dict[str, tuple[str, str]], transport: str, name: str
) -> None:
    """Each takes its own permission and no other; one permission has them all."""
    takes, _, expected = CALLS[name]
    for each, (id, key) in users.items():
        with PantryClient(pantry.targets[transport], id, key) as client:
            status, text = status_of(client, name)
        if takes in ("", each) or each == "superuser":
            assert status == expected, (each, text)
        else:
            assert (status, text.partition(":")[0]) == (401, "Incorrect Permissions"), each
            assert takes in text


@pytest.mark.parametrize("name", CALLS)
def test_strangers(
    pantry: PantryDaemon, users: dict[str, tuple[str, str]], transport: str, name: str
) -> None:
    """A key that is wrong, another's, or of no user is told the same, whoever connects."""
    id, key = users["superuser"]
    other, others_key = users["none"]
    pairs = [
        (id, key[:-1] + ("A" if key[-1] != "A" else "B")),
        (id, others_key),
        (other, key),
        (str(uuid4()), key),
        (id, ""),
        (id, "x" * 2000),
        (NIL, key),
    ]
    texts: dict[bool, set[str]] = {}
    for pair in pairs:
        with PantryClient(pantry.targets[transport], *pair) as client:
            status, text = status_of(client, name)
        assert status == 401, pair
        assert text.startswith("Incorrect API Key")
        texts.setdefault(len(pair[1]) == len(key), set()).add(text)
    # What is said of what cannot be a key is said of the text alone.
    assert [len(each) for each in texts.values()] == [1, 1]
    with PantryClient(pantry.targets[transport], "not a uuid", key) as client:
        assert status_of(client, name)[0] == 400


@pytest.mark.parametrize("name", CALLS)
def test_the_owner(pantry: PantryDaemon, transport: str, name: str) -> None:
    """Pantry's built-in user is whoever has connected: here the owner, who may everything."""
    with PantryClient(pantry.targets[transport]) as client:
        client.user_id, client.api_key = NIL, ""
        status, text = status_of(client, name)
    takes, _, expected = CALLS[name]
    asks = name.startswith("request_") and takes != "view_llms"
    if asks and expected == 200:
        assert (status, "nobody to ask" in text) == (400, True)
    else:
        assert status == expected


def test_users_that_may_not_any_more(pantry: PantryDaemon, transport: str) -> None:
    """A key that was revoked and a user that was disabled are refused at the next call."""
    with pantry.user(transport, f"gone {transport}", may=["superuser"]) as client:
        assert client.call("get_available_llms") == []
        path = f"/runnerd/users/{client.user_id}"
        pantry.daemon.http.post(path, json={"disabled": True}).raise_for_status()
        assert status_of(client, "get_available_llms")[0] == 401
        pantry.daemon.http.post(path, json={"disabled": False}).raise_for_status()
        assert client.call("get_available_llms") == []
        pantry.daemon.http.delete(path).raise_for_status()
        for name in CALLS:
            assert status_of(client, name)[0] == 401


@pytest.mark.covers("Pantry errors", "400", "415", "422")
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 5000, "application/json", 422),
        (b'{"x": ' + b"[" * 50000, "application/json", 400),
        (b"{}", "", 415),
        (b"{}", "text/plain", 415),
        (b"[]", "application/json", 422),
        (b'{"user_name": 3}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"user_name": "x", "user_id": "y"}', "application/json", 422),
        (b'{"user_name": "\\u0000"}', "application/json", 400),
        (b'{"user_name": ""}', "application/json", 400),
        (b'{"user_name": "%s"}' % (b"x" * 2**20), "application/json", 400),
    ],
)
def test_bodies_that_are_none(
    pantry: PantryDaemon, transport: str, body: bytes, kind: str, status: int
) -> None:
    """As in the original: 400 for no JSON, 415 without its type, 422 for another shape."""
    with PantryClient(pantry.targets[transport]) as client:
        request = client.request_of("register_user", {})
        headers = {"host": request.headers["host"], **({"content-type": kind} if kind else {})}
        response = client.http.post(request.url, content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("text/plain")


def test_two_credentials(pantry: PantryDaemon, users: dict[str, tuple[str, str]]) -> None:
    """A key in the head and one in the body have to be of one user."""
    (id, key), (_, others) = users["view_llms"], users["superuser"]
    with PantryClient(pantry.targets["tcp"], id, key) as client:
        for secret, status in ((key, 200), (others, 401), ("wrong", 401)):
            request = client.request_of("get_available_llms", {})
            request.headers["Authorization"] = f"Bearer {secret}"
            assert client.http.send(request).status_code == status
    with PantryClient(pantry.targets["tcp"]) as client:
        request = client.request_of("get_available_llms", {})
        request.headers["Authorization"] = f"Bearer {others}"
        assert client.http.send(request).status_code == 200
