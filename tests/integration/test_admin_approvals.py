"""What users ask the owner for, through a real daemon."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.ggufs import smallest_model
from tests.support.members import Join, Member, joining
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

PATH = "/runnerd/approvals"
SMALL = smallest_model()
ASKS = ["request_download", "request_load", "request_unload"]


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    """What models are downloaded from."""
    with serving(SMALL) as server:
        yield server


@pytest.fixture
def settings(server: FileServer) -> dict[str, str]:
    return {
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{server.host}"]',
    }


@pytest.fixture
def daemon(tmp_path: Path, settings: dict[str, str]) -> Iterator[DaemonProcess]:
    with running(tmp_path / "daemon", env=settings) as daemon:
        yield daemon


@pytest.fixture
def join(daemon: DaemonProcess) -> Iterator[Join]:
    """Add users, until the end of the test."""
    with joining(daemon) as join:
        yield join


def ask(member: Member, kind: str, *, status: int = 201, **said: Any) -> dict[str, Any]:
    """Ask for something; the request as it is told."""
    response = member.http.post(PATH, json={"type": kind, **said})
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def decide(
    client: httpx.Client, approval: dict[str, Any], decision: str, *, status: int = 200
) -> dict[str, Any]:
    """Accept or reject a request."""
    response = client.post(f"{PATH}/{approval['id']}/{decision}")
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def now(client: httpx.Client, approval: dict[str, Any]) -> dict[str, Any]:
    """How a request is now."""
    found: dict[str, Any] = client.get(f"{PATH}/{approval['id']}").raise_for_status().json()
    return found


def settled(client: httpx.Client, approval: dict[str, Any]) -> dict[str, Any]:
    """How a request is once nobody works on it any more."""
    wait_for(lambda: not now(client, approval)["working"], "the work to end")
    return now(client, approval)


def permissions(member: Member) -> list[str]:
    found: list[str] = member.http.get("/runnerd/me").raise_for_status().json()["may"]
    return found


def test_permissions(daemon: DaemonProcess, join: Join) -> None:
    """Asking takes a key and nothing else; what is given takes the place of what was there."""
    ann, bob = join("ann", may=["session", "view_llms"]), join("bob", may=[])
    asked = ask(ann, "permissions", may=["load_llm", "perm_session"], reason="for the demo")
    assert asked["user"] == "ann"
    assert asked["request"] == {"may": ["load_llm", "session"]}
    assert asked["reason"] == "for the demo"
    assert (asked["state"], asked["accepted"], asked["complete"]) == ("pending", False, False)
    other = ask(bob, "permissions", may=["session"])

    assert ann.http.get(PATH).json() == [asked]
    assert bob.http.get(PATH).json() == [other]
    assert daemon.http.get(PATH).json() == [other, asked]
    assert daemon.http.get(PATH, params={"user": "ann"}).json() == [asked]

    given = decide(daemon.http, asked, "accept")
    assert (given["state"], given["accepted"], given["complete"]) == ("accepted", True, True)
    assert given["decided_by"]
    assert permissions(ann) == ["load_llm", "session"]
    refused = decide(daemon.http, other, "reject")
    assert (refused["state"], refused["accepted"], refused["complete"]) == (
        "rejected",
        False,
        True,
    )
    assert permissions(bob) == []
    assert now(ann.http, asked) == given
    entries = daemon.http.get("/runnerd/audit").json()
    told = [(each["who"], each["action"], each["subject"]) for each in reversed(entries)]
    assert told[2:] == [
        ("ann", "request_permissions", "permissions load_llm,session"),
        ("bob", "request_permissions", "permissions session"),
        (told[0][0], "manage_approvals", f"ann permissions load_llm,session {asked['id']}"),
        (told[0][0], "manage_approvals", f"bob permissions session {other['id']}"),
    ]


def test_others(daemon: DaemonProcess, join: Join) -> None:
    """Somebody else's id is as one that there never was; nobody but an owner decides."""
    ann, bob = join("ann"), join("bob", may=ASKS)
    asked = ask(ann, "permissions", may=["superuser"])
    nobodys = "0" * len(asked["id"])
    hidden, unknown = (bob.http.get(f"{PATH}/{id}") for id in (asked["id"], nobodys))
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.json()["error"]["code"] == "approval_not_found"
    assert hidden.text.replace(asked["id"], nobodys) == unknown.text
    for member in (ann, bob):
        for decision in ("accept", "reject"):
            assert member.http.post(f"{PATH}/{asked['id']}/{decision}").status_code == 403
    assert permissions(ann) == ["session", "view_llms"]
    assert bob.http.get(PATH, params={"user": "ann"}).json() == []


@pytest.mark.long
def test_pages(daemon: DaemonProcess, join: Join) -> None:
    """A page does neither see nor decide for the owner who looks at it."""
    asked = ask(join("ann"), "permissions", may=["superuser"])
    headers = {"Origin": "http://localhost:3000"}
    for method, path in (
        ("GET", PATH),
        ("GET", f"{PATH}/{asked['id']}"),
        ("POST", f"{PATH}/{asked['id']}/accept"),
    ):
        response = daemon.http.request(method, path, headers=headers)
        assert response.status_code == 403, path
    assert now(daemon.http, asked) == asked


def test_a_superuser_decides(daemon: DaemonProcess, join: Join) -> None:
    """As the owner does."""
    ann, boss = join("ann"), join("boss", may=["superuser"])
    asked = ask(ann, "permissions", may=["bare_model"])
    assert decide(boss.http, asked, "accept")["decided_by"] == "boss"
    assert permissions(ann) == ["bare_model"]


def test_decided_twice(daemon: DaemonProcess, join: Join) -> None:
    """The same again changes nothing; the opposite is refused and told who has decided."""
    ann, boss = join("ann"), join("boss", may=["superuser"])
    for first, second, may in (("accept", "reject", "load_llm"), ("reject", "accept", "session")):
        asked = ask(ann, "permissions", may=[may])
        decided = decide(boss.http, asked, first)
        ann.edit(may=["view_llms"])
        assert decide(daemon.http, asked, first) == decided
        told = decide(daemon.http, asked, second, status=409)
        assert f"boss has {decided['state']}" in told["error"]["message"]
        assert permissions(ann) == ["view_llms"]


@pytest.mark.long
@pytest.mark.parametrize("order", [("accept", "reject"), ("reject", "accept")])
def test_two_owners_at_once(daemon: DaemonProcess, join: Join, order: tuple[str, str]) -> None:
    """One wins, and the other is told; what is in force is what the winner said."""
    ann = join("ann", may=[])
    barrier = threading.Barrier(2)

    def decided(id: str, decision: str) -> tuple[str, int]:
        with daemon.client() as client:
            client.get("/health")
            barrier.wait()
            return decision, client.post(f"{PATH}/{id}/{decision}").status_code

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            ann.edit(may=[])
            asked = ask(ann, "permissions", may=["session"])
            results = list(pool.map(decided, [asked["id"]] * 2, order))
            [winner] = [decision for decision, status in results if status == 200]
            assert sorted(status for _, status in results) == [200, 409]
            found = now(daemon.http, asked)
            assert found["accepted"] is (winner == "accept")
            assert permissions(ann) == (["session"] if winner == "accept" else [])


@pytest.mark.long
def test_two_owners_accept_at_once(daemon: DaemonProcess, join: Join, server: FileServer) -> None:
    """It is done once, in the name of one of them, and both are told the same."""
    ann, boss = join("ann", may=ASKS), join("boss", may=["superuser"])
    asked = ask(ann, "download", model=server.url("/once.gguf"), tag="ai/once")
    barrier = threading.Barrier(2)

    def accepted(client: httpx.Client) -> int:
        client.get("/health")
        barrier.wait()
        return client.post(f"{PATH}/{asked['id']}/accept").status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(accepted, (daemon.http, boss.http)))
    assert set(statuses) <= {200, 202}
    done = settled(ann.http, asked)
    assert done["accepted"] is True

    def carried_out() -> list[str]:
        entries = daemon.http.get("/runnerd/audit").json()
        return [each["who"] for each in entries if each["subject"].endswith(": done")]

    wait_for(lambda: carried_out() == [done["decided_by"]], "one entry of the audit")


def test_why_it_was_rejected(daemon: DaemonProcess, join: Join) -> None:
    """The user is told the owner's reason, which is one line."""
    ann = join("ann")
    asked = ask(ann, "permissions", may=["superuser"])
    for wrong in ({"reason": "two\nlines"}, {"why": "x"}, {"reason": "x" * 301}):
        response = daemon.http.post(f"{PATH}/{asked['id']}/reject", json=wrong)
        assert response.status_code == 400, response.text
    response = daemon.http.post(f"{PATH}/{asked['id']}/reject", json={"reason": "ask for less"})
    assert response.json()["decision_reason"] == "ask for less"
    assert now(ann.http, asked) == response.json()
    [entry, *_] = daemon.http.get("/runnerd/audit").json()
    assert entry["subject"].endswith(": ask for less")


def test_withdrawing(daemon: DaemonProcess, join: Join) -> None:
    """A user ends its own request; somebody else's is unknown, and an owner rejects instead."""
    ann, bob = join("ann"), join("bob", may=["superuser"])
    asked = ask(ann, "permissions", may=["load_llm"])
    path = f"{PATH}/{asked['id']}"
    assert bob.http.delete(path).status_code == 404
    assert "rejects" in daemon.http.delete(path).json()["error"]["message"]
    withdrawn = ann.http.delete(path).json()
    assert (withdrawn["state"], withdrawn["accepted"], withdrawn["complete"]) == (
        "withdrawn",
        False,
        True,
    )
    assert ann.http.delete(path).json() == withdrawn
    told = decide(daemon.http, asked, "accept", status=409)
    assert "ann has withdrawn" in told["error"]["message"]
    assert permissions(ann) == ["session", "view_llms"]
    listed = daemon.http.get(PATH, params={"state": "withdrawn"}).json()
    assert [each["id"] for each in listed] == [asked["id"]]


@pytest.mark.long
def test_what_would_be_lost(daemon: DaemonProcess, join: Join) -> None:
    """Permissions take the place of those before: the owner sees which would go."""
    ann = join("ann")
    asked = ask(ann, "permissions", may=["session", "load_llm"])
    assert asked["loses"] == ["view_llms"]
    ann.edit(may=["session"])
    assert now(daemon.http, asked)["loses"] == []


@pytest.mark.parametrize("limit", ["0", "1001", "00000199999", "000001" + "0" * 60, "x", "-1"])
def test_how_many_are_listed(unchanged: DaemonProcess, limit: str) -> None:
    """Within bounds, however the number is written."""
    response = unchanged.http.get(PATH, params={"limit": limit})
    assert response.status_code == 400
    assert "limit is a number from 1 to 1000" in response.json()["error"]["message"]


@pytest.mark.parametrize("id", ["%ff", "%00", "x" * 4000, "%F0%9F%98%80", "'--"])
def test_ids_that_there_never_were(unchanged: DaemonProcess, id: str) -> None:
    """Are unknown, whatever they are made of."""
    for method, path in (("GET", id), ("POST", f"{id}/accept"), ("POST", f"{id}/reject")):
        response = unchanged.http.request(method, f"{PATH}/{path}")
        assert response.status_code in (400, 404), response.text


def test_who_may_ask(daemon: DaemonProcess, join: Join) -> None:
    """Each kind takes its own permission, before anything is told of a model."""
    for may in (*ASKS, "load_llm", "superuser"):
        member = join(may, may=[may])
        for kind in ("download", "load", "unload"):
            model = "ai/unknown" if kind != "download" else "ai/some"
            response = member.http.post(PATH, json={"type": kind, "model": model})
            if may in (f"request_{kind}", "superuser"):
                assert response.status_code == (201 if kind == "download" else 404), response.text
            else:
                assert response.status_code == 403
                assert f"request_{kind}" in response.json()["error"]["message"]
        ask(member, "permissions", may=["session"])
    assert daemon.http.post(PATH, json={"type": "load", "model": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "type is required"),
        ({"type": "party"}, "permissions, download, load, unload"),
        ({"type": "permissions"}, "may is required"),
        ({"type": "permissions", "may": ["sesion"]}, "did you mean session"),
        ({"type": "permissions", "may": [], "model": "x"}, "model"),
        ({"type": "permissions", "may": [], "reason": "two\nlines"}, "one line"),
        ({"type": "load"}, "model is required"),
        ({"type": "load", "model": 5}, "must be a string"),
        ({"type": "download", "model": "http://a:b@127.0.0.1/m.gguf"}, "without a password"),
        ({"type": "download", "model": "ai/m", "revision": "\x1b[2J"}, "revision"),
        ({"type": "download", "model": "ai/m", "bearer-token": "x"}, "bearer-token"),
        ({"type": "download", "model": "ai/m", "sha256": "x"}, "sha256"),
    ],
)
def test_what_is_wrong(join: Join, said: dict[str, Any], words: str) -> None:
    """One line says what."""
    response = join("ann", may=ASKS).http.post(PATH, json=said)
    assert response.status_code == 400, response.text
    assert words in response.json()["error"]["message"]


@pytest.mark.long
def test_the_most(daemon: DaemonProcess, join: Join) -> None:
    """A hundred of a user may wait; the same again is no other one; others are not concerned."""
    ann, bob = join("ann", may=ASKS), join("bob")
    first = ask(ann, "download", model="ai/m0")
    for number in range(1, 100):
        ask(ann, "download", model=f"ai/m{number}")
    told = ann.http.post(PATH, json={"type": "permissions", "may": ["session"]})
    assert told.status_code == 429
    assert int(told.headers["Retry-After"]) > 0
    assert "pending_requests" in told.json()["error"]["message"]
    assert ask(ann, "download", model="ai/m0", status=200) == first
    ask(bob, "permissions", may=["session"])
    decide(daemon.http, first, "reject")
    ask(ann, "permissions", may=["session"])
    assert len(ann.http.get(PATH, params={"limit": 1000}).json()) == 101
    assert len(ann.http.get(PATH).json()) == 100
    rejected = ann.http.get(PATH, params={"state": "rejected"}).json()
    assert [each["id"] for each in rejected] == [first["id"]]


def test_a_download(daemon: DaemonProcess, join: Join, server: FileServer) -> None:
    """One that fails says why and stays; accepted again it succeeds, and only then it is done."""
    ann = join("ann", may=ASKS)
    asked = ask(ann, "download", model=server.url(), tag="ai/fetched")
    server.behaviour.status = 404
    try:
        begun = decide(daemon.http, asked, "accept", status=202)
        assert (begun["working"], begun["complete"]) == (True, False)
        failed = settled(daemon.http, asked)
    finally:
        server.behaviour.status = 0
    assert (failed["state"], failed["accepted"], failed["complete"]) == ("pending", False, False)
    assert "does not have the file" in failed["failure"]
    assert now(ann.http, asked) == failed
    decide(daemon.http, asked, "accept", status=202)
    done = settled(ann.http, asked)
    assert (done["state"], done["accepted"], done["complete"]) == ("accepted", True, True)
    assert done["failure"] is None
    assert daemon.http.get("/models/ai/fetched").status_code == 200

    def outcomes() -> list[tuple[int, str]]:
        entries = daemon.http.get("/runnerd/audit").json()
        return [
            (each["status"], each["subject"].rpartition(": ")[2])
            for each in entries
            if each["subject"].startswith("ann download") and not each["route"]
        ]

    wait_for(lambda: outcomes() == [(200, "done"), (404, failed["failure"])], "the audit")


@pytest.mark.long
def test_while_it_is_being_done(daemon: DaemonProcess, join: Join, server: FileServer) -> None:
    """It is not done twice, and not rejected meanwhile; whose pull it is."""
    ann = join("ann", may=[*ASKS, "view_llms"])
    asked = ask(ann, "download", model=server.url("/held.gguf"))
    server.behaviour.breaks, server.behaviour.stalls = 1, True
    try:
        decide(daemon.http, asked, "accept", status=202)
        wait_for(lambda: daemon.http.get("/models/pulls").json() != [], "the pull to begin")
        again = decide(daemon.http, asked, "accept", status=202)
        assert again["working"] is True
        told = decide(daemon.http, asked, "reject", status=409)
        assert "accepted" in told["error"]["message"]
        [pull] = daemon.http.get("/models/pulls").json()
        assert ann.http.get("/models/pulls").json() == []
        daemon.http.delete(f"/models/pulls/{pull['id']}").raise_for_status()
        failed = settled(daemon.http, asked)
        assert "cancelled" in failed["failure"]
        decide(daemon.http, asked, "reject")
    finally:
        server.behaviour.breaks, server.behaviour.stalls = 0, False
        server.release.set()
        server.release.clear()


@pytest.mark.long
def test_killed_in_between(tmp_path: Path, settings: dict[str, str], server: FileServer) -> None:
    """A daemon that is killed while it does what was accepted has lost nothing: it is pending."""
    with running(tmp_path / "daemon", env=settings) as daemon:
        ann = Member(daemon, "ann", may=ASKS)
        asked = ask(ann, "download", model=server.url("/killed.gguf"), tag="ai/killed")
        other = ask(ann, "permissions", may=["session"])
        given = decide(daemon.http, other, "accept")
        server.behaviour.breaks, server.behaviour.stalls = 1, True
        try:
            decide(daemon.http, asked, "accept", status=202)
            wait_for(lambda: daemon.http.get("/models/pulls").json() != [], "the pull to begin")
            daemon.kill()
        finally:
            server.behaviour.breaks, server.behaviour.stalls = 0, False
            server.release.set()
            server.release.clear()
        ann.http.close()
        daemon.start()
        assert now(daemon.http, asked) == asked
        assert now(daemon.http, other) == given
        decide(daemon.http, asked, "accept", status=202)
        assert settled(daemon.http, asked)["accepted"] is True
        assert daemon.http.get("/models/ai/killed").status_code == 200


def test_a_user_that_is_removed(daemon: DaemonProcess, join: Join) -> None:
    """What it has asked for goes with it."""
    ann = join("ann")
    asked = ask(ann, "permissions", may=["session"])
    ann.remove()
    assert daemon.http.get(PATH).json() == []
    decide(daemon.http, asked, "accept", status=404)


@pytest.mark.long
@pytest.mark.engine
def test_load_and_unload(daemon: DaemonProcess, join: Join, gguf: Path) -> None:
    """The model is in memory, and out of it, once it is said to be done."""
    daemon.import_model(gguf / "tiny.gguf", "team/tiny")
    daemon.import_model(gguf / "other.gguf", "ai/tiny")
    ann = join("ann", may=ASKS, models=["team/*"])
    asked = ask(ann, "load", model="tiny")
    assert asked["request"] == {"model": "team/tiny:latest"}  # not what the owner calls so
    decide(daemon.http, asked, "accept", status=202)
    assert settled(ann.http, asked)["accepted"] is True
    [runner] = daemon.ps()
    assert "team/tiny" in runner["model_name"]
    asked = ask(ann, "unload", model="team/tiny")
    decide(daemon.http, asked, "accept", status=202)
    assert settled(ann.http, asked)["accepted"] is True
    assert daemon.ps() == []
    hidden = ann.http.post(PATH, json={"type": "load", "model": "ai/tiny"})
    unknown = ann.http.post(PATH, json={"type": "load", "model": "ai/unkn"})
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("ai/tiny", "") == unknown.text.replace("ai/unkn", "")


@pytest.mark.long
@pytest.mark.engine
def test_a_model_that_has_vanished(daemon: DaemonProcess, join: Join, gguf: Path) -> None:
    """It cannot be loaded, and that is told; once it is back it can."""
    daemon.import_model(gguf / "tiny.gguf", "tiny")
    ann = join("ann", may=ASKS)
    asked = [ask(ann, kind, model="tiny") for kind in ("load", "unload")]
    daemon.http.delete("/models/tiny").raise_for_status()
    for each in asked:
        decide(daemon.http, each, "accept", status=202)
        failed = settled(ann.http, each)
        assert failed["state"] == "pending"
        assert "not found" in failed["failure"]
    daemon.import_model(gguf / "tiny.gguf", "tiny")
    decide(daemon.http, asked[0], "accept", status=202)
    assert settled(ann.http, asked[0])["accepted"] is True


class Stream:
    """Follows approvals in a thread; `events` are those that came."""

    def __init__(self, client: httpx.Client) -> None:
        self.events: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self._client = client
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._client.stream("GET", PATH, params={"follow": "true"}) as response:
                self.status = response.status_code
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        self.events.append(json.loads(line.removeprefix("data: ")))
        except httpx.HTTPError:
            pass  # cut off
        finally:
            self.ended.set()

    def states(self) -> list[tuple[str, str]]:
        """Whose requests came, and in which state."""
        return [(event["user"], event["state"]) for event in self.events]

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.mark.long
def test_following(daemon: DaemonProcess, join: Join) -> None:
    """What there is, what comes and what changes: the owner sees all, a user its own; and it ends
    with the key.
    """
    ann, bob = join("ann"), join("bob")
    first = ask(ann, "permissions", may=["session"])
    with daemon.client() as client:
        owners, anns = Stream(client), Stream(ann.http)
        wait_for(lambda: owners.states() == anns.states() == [("ann", "pending")], "the first")
        with httpx.Client(base_url=daemon.address, headers=bob.http.headers, verify=NO_TLS) as http:
            other = http.post(PATH, json={"type": "permissions", "may": ["session"]}).json()
        decide(daemon.http, other, "reject")
        decide(daemon.http, first, "accept")
        wait_for(lambda: ("ann", "accepted") in anns.states(), "ann's")
        wait_for(lambda: len(owners.events) == 4, "the owner's")
        assert owners.states()[1:] == [
            ("bob", "pending"),
            ("bob", "rejected"),
            ("ann", "accepted"),
        ]
        assert anns.states() == [("ann", "pending"), ("ann", "accepted")]
        ann.revoke()
        assert anns.ended.wait(60)
        anns.join()
        assert not owners.ended.is_set()
        assert daemon.terminate() == 0
        owners.join()
        daemon.start()


@pytest.mark.long
def test_a_superuser_no_more(daemon: DaemonProcess, join: Join) -> None:
    """Is told nothing more of others."""
    ann, boss = join("ann"), join("boss", may=["superuser"])
    asked = ask(ann, "permissions", may=["session"])
    stream = Stream(boss.http)
    wait_for(lambda: len(stream.events) == 1, "the first")
    boss.edit(may=["session"])
    decide(daemon.http, asked, "accept")
    assert stream.ended.wait(60)
    stream.join()
    assert len(stream.events) == 1


@pytest.mark.long
def test_streams_of_one_user(daemon: DaemonProcess, join: Join) -> None:
    """There are eight at most, and one that has ended makes room."""
    ann = join("ann")
    with httpx.Client(
        base_url=daemon.address, headers=ann.http.headers, timeout=60, verify=NO_TLS
    ) as http:
        streams = [http.build_request("GET", PATH, params={"follow": "true"}) for _ in range(9)]
        opened = [http.send(stream, stream=True) for stream in streams]
        assert [response.status_code for response in opened] == [200] * 8 + [429]
        opened[0].close()
        wait_for(lambda: _follows(http), "room for another one")
        for response in opened:
            response.close()


def _follows(http: httpx.Client) -> bool:
    with http.stream("GET", PATH, params={"follow": "true"}) as response:
        return response.status_code == 200


@pytest.mark.long
def test_without_a_key(tmp_path: Path) -> None:
    """Requests are users': who is let in without a key has none, and cannot make any."""
    with running(tmp_path / "daemon", env={"RUNNERD_REQUIRE_KEYS": "1"}) as daemon:
        with httpx.Client(base_url=daemon.address, verify=NO_TLS) as http:
            headers = {"X-Forwarded-For": "10.0.0.9"}
            assert http.get(PATH, headers=headers).status_code == 401
            said = {"type": "permissions", "may": ["session"]}
            assert http.post(PATH, json=said, headers=headers).status_code == 401
