"""What `ps`, `top` and the page read, and what happens while they watch, through a real daemon."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.members import Join, joining
from tests.support.waiting import SECONDS, wait_for

pytestmark = pytest.mark.engine

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 3}
ENDLESS = {**CHAT, "max_tokens": 7000, "stream": True, "ignore_eos": True}

Event = tuple[str, str, dict[str, Any]]


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path / "d") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


@pytest.fixture
def join(daemon: DaemonProcess) -> Iterator[Join]:
    """Add users, until the end of the test."""
    with joining(daemon) as join:
        yield join


class Watcher:
    """Reads a stream of events in a thread; `events` are (id, kind, fields)."""

    def __init__(self, http: httpx.Client, *, id: str | None = None, **query: str) -> None:
        self.events: list[Event] = []
        self.ended = threading.Event()
        headers = {} if id is None else {"Last-Event-ID": id}
        self._response = http.stream(
            "GET", "/runnerd/events", headers=headers, params=query, timeout=60 * SECONDS
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        wait_for(lambda: self.kinds()[:1] == ["hello"], "the stream to begin")

    def _read(self) -> None:
        id = kind = ""
        try:
            with self._response as response:
                assert response.status_code == 200, response.read()
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        id = value
                    elif name == "event":
                        kind = value
                    elif name == "data":
                        self.events.append((id, kind, json.loads(value)))
        except httpx.HTTPError:
            pass
        self.ended.set()

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in list(self.events)]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [fields for _, each, fields in list(self.events) if each == kind]


@contextmanager
def asking(http: httpx.Client, **headers: str) -> Iterator[list[str]]:
    """A stream that goes on for long; what it has ended with, in the end."""
    lines: list[str] = []
    begun = threading.Event()

    def read() -> None:
        url = "/v1/chat/completions"
        with http.stream("POST", url, json=ENDLESS, headers=headers, timeout=60) as response:
            for line in response.iter_lines():
                lines.append(line)
                begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60 * SECONDS)
    yield lines
    thread.join(60 * SECONDS)
    assert not thread.is_alive()


def overview(http: httpx.Client) -> dict[str, Any]:
    response = http.get("/runnerd/overview")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_the_present_as_one_document(daemon: DaemonProcess) -> None:
    """Devices with what is reserved, held and others'; each runner with its memory and slots."""
    before = overview(daemon.http)
    assert before["runners"] == before["requests"] == before["transfers"] == []
    ram = before["devices"][0]
    assert (ram["id"], ram["name"], ram["reserved"], ram["held"]) == ("ram", "RAM", 0, 0)
    assert 0 < ram["free"] <= ram["total"]
    assert before["queue"] == {"waiting": 0, "models": []}

    daemon.http.post("/v1/chat/completions", json=CHAT).raise_for_status()
    wait_for(lambda: overview(daemon.http)["runners"][0]["memory"]["ram"]["held"], "what it holds")
    after = overview(daemon.http)
    [runner] = after["runners"]
    assert (runner["model"], runner["models"]) == ("tiny", ["ai/tiny:latest"])
    assert (runner["state"], runner["mode"], runner["requests"]) == ("ready", "completion", 0)
    assert runner["slots"] == {"all": 4, "used": 0}
    assert runner["context"] > 0
    assert runner["tokens_per_second"] > 0
    assert runner["failure"] is None
    memory = runner["memory"]["ram"]
    [ram] = [device for device in after["devices"] if device["id"] == "ram"]
    assert ram["reserved"] == memory["reserved"] > 0
    assert ram["held"] == memory["held"] > 0
    assert after["loop_lag_seconds"].keys() == {"latest", "worst"}


def test_a_name_that_is_gone_is_told_no_more(daemon: DaemonProcess) -> None:
    """Whoever first used a model may have called it what it is not called any more."""
    daemon.http.post("/models/tiny/tag", params={"repo": "passing"}).raise_for_status()
    daemon.http.post("/v1/chat/completions", json=CHAT | {"model": "passing"}).raise_for_status()
    assert [each["model"] for each in overview(daemon.http)["runners"]] == ["passing"]
    daemon.http.delete("/models/passing").raise_for_status()
    assert [each["model"] for each in overview(daemon.http)["runners"]] == ["ai/tiny:latest"]


def test_the_speed_of_a_stream_that_runs(daemon: DaemonProcess) -> None:
    """Told while the first response runs, of its runner and in the sum; then not any more."""

    def speeds() -> tuple[float | None, float]:
        found = overview(daemon.http)
        [runner] = found["runners"] or [{"tokens_per_second": None}]
        return runner["tokens_per_second"], found["tokens_per_second"]

    with daemon.client() as client, asking(client):
        wait_for(lambda: all(speeds()), "a speed while the stream runs")
        [running] = overview(daemon.http)["requests"]
        assert running["state"] == "running"
        assert running["completion_tokens"] is None
        daemon.http.delete(f"/runnerd/requests/{running['id']}").raise_for_status()
    assert speeds()[1] == 0.0


def test_what_happens_is_told_as_it_happens(daemon: DaemonProcess) -> None:
    """A load, a request, an unload, another model; who was away catches up."""
    watcher = Watcher(daemon.http)
    daemon.http.post("/v1/chat/completions", json=CHAT).raise_for_status()
    wait_for(lambda: watcher.of("request"), "the request's end")
    assert [change["state"] for change in watcher.of("runner")] == ["starting", "ready"]
    assert watcher.of("runner")[1]["load_seconds"] > 0
    [request] = watcher.of("request")
    assert (request["model"], request["status"], request["state"]) == (
        "ai/tiny:latest",
        200,
        "ended",
    )
    assert request["completion_tokens"] == 3

    seen = watcher.events[-1][0]
    daemon.http.post("/engines/unload", json={"all": True}).raise_for_status()
    daemon.http.post("/models/tiny/tag", params={"repo": "other", "tag": "v1"}).raise_for_status()
    wait_for(lambda: watcher.of("models"), "other models")
    wait_for(lambda: watcher.of("runner")[-1]["state"] == "stopped", "the end of the runner")
    assert watcher.of("runner")[2] | {"at": ""} == watcher.of("runner")[1] | {
        "at": "", "state": "stopping", "reason": "unloaded",
    }  # fmt: skip

    again = Watcher(daemon.http, id=seen)
    wait_for(lambda: len(again.events) >= 4, "what was missed")
    assert sorted(again.kinds()) == ["hello", "models", "runner", "runner"]
    assert again.events[0][0] == ""  # a break now would begin where this one did
    times = [data["at"] for _, _, data in again.events[1:]]
    assert times == sorted(times)
    rest = Watcher(daemon.http, id=again.events[1][0])
    wait_for(lambda: len(rest.events) >= len(again.events) - 1, "what came behind the first one")
    assert [data for _, _, data in rest.events[1:]] == [data for _, _, data in again.events[2:]]
    stranger = Watcher(daemon.http, id="0-1", kinds="runner")
    wait_for(lambda: "missed" in stranger.kinds(), "that more was")


def test_a_running_request_is_ended(daemon: DaemonProcess, join: Join) -> None:
    """By the owner or by whose it is; its client is told, and nobody else can."""
    ann = join("ann", may=["session", "view_llms"])
    ben = join("ben", may=["session", "view_llms"])
    with asking(ann.http, **{"X-Request-Id": "anns"}) as lines:
        [request] = overview(daemon.http)["requests"]
        assert (request["id"], request["user"], request["state"]) == ("anns", "ann", "running")
        assert overview(ann.http)["requests"][0]["id"] == "anns"
        assert overview(ben.http)["requests"] == []
        assert overview(ben.http)["running"] == 0
        assert ben.http.delete("/runnerd/requests/anns").status_code == 404
        [ended] = daemon.http.delete("/runnerd/requests/anns").raise_for_status().json()
        assert (ended["state"], ended["id"]) == ("ended", "anns")
    error = json.loads(next(line for line in lines if '"error"' in line).removeprefix("data: "))
    assert error["error"]["code"] == "request_cancelled"
    assert "data: [DONE]" not in lines
    entry = daemon.http.get("/runnerd/audit").json()[0]
    assert (entry["action"], entry["subject"]) == ("cancel_request", "anns ai/tiny:latest of ann")
    with asking(ann.http, **{"X-Request-Id": "mine"}):
        ann.http.delete("/runnerd/requests/mine").raise_for_status()
    assert daemon.http.delete("/runnerd/requests/mine").status_code == 404


def test_what_was_asked_last(daemon: DaemonProcess, join: Join) -> None:
    """With the names of model and user, beside what runs: one's own, and for owners all."""
    ann, ben = (join(name, may=["session", "view_llms"]) for name in ("ann", "ben"))
    sent = {"X-Request-Id": "asked-by-ann"}
    ann.http.post("/v1/chat/completions", json=CHAT, headers=sent).raise_for_status()
    asked = [
        each
        for each in daemon.http.get("/runnerd/requests?ended=true").json()
        if each["id"] == sent["X-Request-Id"]
    ]
    [told] = asked
    assert (told["model"], told["user"], told["state"]) == ("ai/tiny:latest", "ann", "ended")
    assert "request" not in told  # it is not kept
    assert ann.http.get("/runnerd/requests?ended=1").json() == asked
    assert ben.http.get("/runnerd/requests?ended=1").json() == []
    assert daemon.http.get("/runnerd/requests").json() == []
    assert daemon.http.get("/runnerd/requests?ended=maybe").status_code == 400


def test_everybody_sees_what_is_theirs(daemon: DaemonProcess, gguf: Path, join: Join) -> None:
    """Runners of models that were granted, requests of one's own; and nothing once it is over."""
    daemon.import_model(gguf / "other.gguf", "other")
    ann = join("ann", may=["session", "view_llms"], models=["other"])
    watcher = Watcher(ann.http)
    daemon.http.post("/v1/chat/completions", json=CHAT).raise_for_status()
    ann.http.post("/v1/chat/completions", json={**CHAT, "model": "other"}).raise_for_status()
    wait_for(lambda: watcher.of("request"), "the request's end")
    assert {change["model"] for change in watcher.of("runner")} == {"other"}
    assert [request["user"] for request in watcher.of("request")] == ["ann"]
    assert [runner["model"] for runner in overview(ann.http)["runners"]] == ["other"]
    ann.revoke()
    assert watcher.ended.wait(60 * SECONDS)


def test_nothing_that_watches_holds_up_a_drain(daemon: DaemonProcess) -> None:
    """And HEAD says that there is such a stream, without beginning one."""
    assert daemon.http.head("/runnerd/events").status_code == 200
    with daemon.client() as http:
        watcher = Watcher(http)
        assert daemon.terminate() == 0
        assert watcher.ended.wait(60 * SECONDS)
    assert "did not finish" not in daemon.text()
