"""Every route of both planes, for every kind of principal, with every form of credential.

The rows (`tests/support/route_permissions.txt`) say what each route takes, in the policy's own
words and written by hand; that there is one for each route, and the columns, come from the tables
of routes and permissions.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from runnerd.access import (
    NOBODY,
    Directory,
    Key,
    Permission,
    Principal,
    Rules,
    User,
    address_principal,
    local_principal,
    owner_principal,
)
from runnerd.access.users import key_digest
from runnerd.api.anthropic.errors import ANTHROPIC
from tests.support.policed_relay import (
    INFERENCE,
    OTHER_APIS,
    PolicedRelay,
    control_plane,
    policed_relay,
)

ROWS = {
    (method, path): takes
    for method, path, takes in (
        line.split()
        for line in Path("tests/support/route_permissions.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}
NOW = 1000.0
PROTOLLMS = {"/generate", "/chat_completion", "/check_status", "/embed"}
PANTRYS = {path for _, path in ROWS if path.count("/") == 1 and "_" in path} - PROTOLLMS
"""Pantry's calls, as they are without credentials in their bodies: as everybody's."""
SHADOWED = {("POST", "/models/ai/m/x")}  # other routes take some of what this one would


def secret_of(name: str) -> str:
    return name.ljust(43, "_")[:43]


USERS = {
    **{
        permission.value: User(f"u-{permission}", permission, frozenset({permission}))
        for permission in Permission
    },
    "nothing": User("u-nothing", "nothing", frozenset()),
}
"""Users whose keys count, by what they may."""

ENDED = {
    "disabled": User("u-disabled", "disabled", frozenset(Permission), disabled=True),
    "expired": User("u-expired", "expired", frozenset(Permission), expires=NOW),
    "expired key": User("u-key", "expired key", frozenset(Permission)),
}
"""Users whose keys do not, and neither does one that was revoked or never was."""

KEYLESS = {
    "owner": (owner_principal(0), {"anybody", "admitted", *Permission}),
    "local": (local_principal(1234), {"anybody", "admitted", "session", "view_llms"}),
    "address": (address_principal("10.0.0.9"), {"anybody", "admitted", "session", "view_llms"}),
    "anonymous": (NOBODY, {"anybody"}),
}
"""Who shows no key: the principal of its connection, and what it may."""


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def x_api_key(secret: str) -> dict[str, str]:
    return {"x-api-key": secret}


def basic(secret: str) -> dict[str, str]:
    pair = base64.b64encode(f"git:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


FORMS = {"bearer": bearer, "x-api-key": x_api_key, "basic": basic}
EACH_FORM = [pytest.param(form, marks=[pytest.mark.long] * (form != "bearer")) for form in FORMS]


def directory() -> Directory:
    users = [*USERS.values(), *ENDED.values()]
    keys = [
        Key(user.name, user.id, key_digest(secret_of(user.name)), 0.0,
            NOW if user.name == "expired key" else None)
        for user in users
    ]  # fmt: skip
    return Directory(users, keys)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[PolicedRelay]:
    rules = Rules(lambda: NOW, directory())
    async with policed_relay(tmp_path, rules) as relay:
        yield relay


class Client:
    """Asks a relay over one of its listeners."""

    def __init__(self, relay: PolicedRelay, transport: str) -> None:
        connector = (
            aiohttp.UnixConnector(str(relay.socket))
            if transport == "unix"
            else aiohttp.TCPConnector()
        )
        self.host = "localhost" if transport == "unix" else f"127.0.0.1:{relay.port}"
        self.http = aiohttp.ClientSession(connector=connector)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The status, the headers and the body of a response."""
        data, said = b'{"model":"m"}', {"Content-Type": "application/json", **headers}
        route = OTHER_APIS.get(path)
        if route is not None and route.media_type != b"application/json":
            said["Content-Type"], data = "multipart/form-data; boundary=x", b"--x--\r\n"
        body = data if method in ("POST", "DELETE") else None
        url = URL(f"http://{self.host}{path}", encoded=True)
        async with self.http.request(method, url, headers=said, data=body) as response:
            return response.status, response.headers, await response.read()


def let_in(path: str) -> int:
    return 501 if path in INFERENCE else 200


def check_form(path: str, media_type: str, body: bytes, words: str) -> None:
    """An error is told in the form of the route's own API."""
    if media_type.startswith("text/plain"):  # Docker Model Runner's own routes
        assert path.startswith(("/models", "/engines", "/logs")) or path in PANTRYS, path
        assert words in body.decode()
        return
    document = json.loads(body)
    if path.startswith("/api/"):
        message = document["error"]
    elif path.startswith(("/jobs", "/remotejobs/")):
        assert document["success"] is False
        message = document["error"]
    elif path in PROTOLLMS:  # as FastAPI tells them
        message = document["detail"]
    elif path in OTHER_APIS and OTHER_APIS[path].error_format is ANTHROPIC:
        assert document["type"] == "error"
        message = document["error"]["message"]
    else:
        assert {"message", "type", "code"} <= document["error"].keys()
        message = document["error"]["message"]
    assert words in message, document


async def check_row(
    client: Client, row: tuple[str, str], headers: Mapping[str, str], allowed: bool, *, known: bool
) -> None:
    """One cell: let in, or told what is missing: a key (not `known`), or the permission."""
    method, path = row
    status, told, body = await client.ask(method, path, headers)
    if allowed:
        assert status == let_in(path), (row, headers, body)
        return
    # Pantry has one status for both.
    assert status == (403 if known and path not in PANTRYS else 401), (row, headers, body)
    challenge = told.get("WWW-Authenticate", "")
    assert challenge.startswith("" if known else "Bearer ")
    assert bool(challenge) is not known
    if method != "HEAD":
        media_type = told.get("Content-Type", "")
        check_form(path, media_type, body, ROWS[row] if known else "key")


async def test_every_route_has_a_row(relay: PolicedRelay) -> None:
    """Whoever adds a route says here what it takes."""
    found = {(method, path) for method, path, _ in control_plane(relay.app)}
    found |= {("POST", path) for path in INFERENCE}
    assert found == set(ROWS), found ^ set(ROWS)
    assert set(ROWS.values()) <= {"anybody", "admitted", *Permission}


@pytest.mark.parametrize("form", EACH_FORM)
async def test_users(relay: PolicedRelay, transport: str, form: str) -> None:
    """Each may what takes its permission, whoever is at the connection's other end."""
    async with Client(relay, transport) as client:
        for name, user in USERS.items():
            headers = FORMS[form](secret_of(user.name))
            for row, takes in ROWS.items():
                if row in SHADOWED:
                    continue
                allowed = name == "superuser" or takes in ("anybody", "admitted", name)
                if name == "unload_llm" and row[1].startswith("/api/") and row[1] in INFERENCE:
                    continue  # a request to unload, which is known by its body alone
                await check_row(client, row, headers, allowed, known=True)


@pytest.mark.parametrize("form", EACH_FORM)
async def test_keys_that_do_not_count(relay: PolicedRelay, transport: str, form: str) -> None:
    """Ended, revoked or never given: 401 everywhere, also for who would be let in without one."""
    for peer in (NOBODY, owner_principal(0)):
        relay.peer = peer
        async with Client(relay, transport) as client:
            for name in (*ENDED, "revoked", "wrong"):
                headers = FORMS[form](secret_of(name) if name != "wrong" else "short")
                for row in ROWS:
                    await check_row(client, row, headers, False, known=False)


async def test_two_keys_that_disagree(relay: PolicedRelay, transport: str) -> None:
    """401, also where one of them would do, and whoever asks."""
    good, other = secret_of("superuser"), secret_of("session")
    pairs = [
        bearer(good) | x_api_key(other),
        basic(good) | x_api_key(other),
        bearer(good) | x_api_key("unused"),
    ]
    relay.peer = owner_principal(0)
    async with Client(relay, transport) as client:
        for headers in pairs:
            for row in ROWS:
                await check_row(client, row, headers, False, known=False)


@pytest.mark.parametrize("who", KEYLESS)
async def test_without_a_key(relay: PolicedRelay, transport: str, who: str) -> None:
    """What the listener makes of who has connected."""
    relay.peer, may = KEYLESS[who]
    async with Client(relay, transport) as client:
        for row, takes in ROWS.items():
            if row not in SHADOWED:
                await check_row(client, row, {}, takes in may, known=who != "anonymous")


@pytest.mark.parametrize("who", [*KEYLESS])
async def test_other_spellings_of_a_path(relay: PolicedRelay, transport: str, who: str) -> None:
    """Escaped, in capitals or with doubled slashes a path reaches the same check, or nothing."""
    relay.peer, may = KEYLESS[who]
    async with Client(relay, transport) as client:
        for (method, path), takes in ROWS.items():
            if takes in may or (method, path) in SHADOWED or path == "/":
                continue
            for spelled in _spellings(path):
                status, _, _ = await client.ask(method, spelled, {})
                assert status in (401, 403, 404, 405, 411, 415), (method, spelled, status)


def _spellings(path: str) -> list[str]:
    escaped = "/" + "/".join(f"%{ord(part[0]):02x}{part[1:]}" for part in path[1:].split("/"))
    doubled = path.replace("/", "//") + "/"
    return [escaped, path.upper(), doubled, path + "/", "/." + path, path.replace("/", "/x/../")]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/messages", "/models"])
async def test_a_head_that_is_remembered(relay: PolicedRelay, transport: str, path: str) -> None:
    """A key that is revoked between two requests of the same bytes is refused at the second."""
    secret = secret_of("superuser")
    async with Client(relay, transport) as client:
        for announced in (True, False):
            relay.policy.adopt(directory())
            relay.relay.users_changed()
            for _ in range(3):
                status, _, body = await client.ask("POST", path, bearer(secret))
                assert status in (501, 405), body
            rest = [user for user in USERS.values() if user.name != "superuser"]
            relay.policy.adopt(Directory(rest, ()))
            if announced:
                relay.relay.users_changed()
            status, _, _ = await client.ask("POST", path, bearer(secret))
            assert status == (405 if path == "/models" else 401)


def raw(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: 13", *headers]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/show", "/runnerd/users", "/health"])
async def test_a_body_is_asked_for_once_it_may_come(relay: PolicedRelay, path: str) -> None:
    """A client that waits for 100 Continue is refused first."""
    import asyncio

    async def first_line(*headers: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(relay.socket))
        writer.write(raw(path, "Expect: 100-continue", *headers))
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    assert await first_line(f"x-api-key: {secret_of('revoked')}") in (
        b"HTTP/1.1 401 Unauthorized\r\n",
        b"HTTP/1.1 405 Method Not Allowed\r\n",
    )
    if path != "/health":
        assert await first_line() == b"HTTP/1.1 401 Unauthorized\r\n"
        expected = b"HTTP/1.1 100 Continue\r\n"
        assert await first_line(f"x-api-key: {secret_of('superuser')}") == expected
        assert await first_line(f"x-api-key: {secret_of('nothing')}") == (
            b"HTTP/1.1 403 Forbidden\r\n"
        )


def test_principals_are_told_apart() -> None:
    """No two of the columns are one principal."""
    found: list[Principal] = [principal for principal, _ in KEYLESS.values()]
    assert len({principal.id for principal in found}) == len(found)
