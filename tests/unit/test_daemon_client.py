"""The worker's side of its daemon, against a server that answers as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from runnerd.errors import Displaced
from runnerd.jobs.fleet.daemon_client import (
    DaemonAway,
    DaemonClient,
    HostView,
    LoadedModel,
    TaskRefused,
)


class FakeDaemon:
    """Answers every POST with `status` and `document`."""

    def __init__(self) -> None:
        self.status = 200
        self.document: Any = {"text": "x"}
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []

    async def post(self, request: web.Request) -> web.Response:
        await request.read()
        self.seen.append((request.path, request.headers.get("Priority", "")))
        return web.json_response(self.document, status=self.status, headers=self.headers)

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response([{"id": "sha256:1", "tags": ["ai/demo-a:latest"]}, 7])

    async def ps(self, request: web.Request) -> web.Response:
        ready = {"state": "ready", "model_name": "demo-a", "slots": 4, "requests": 2, "waiting": 1}
        return web.json_response([ready, ready | {"state": "failed"}])


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[tuple[FakeDaemon, DaemonClient]]:
    daemon = FakeDaemon()
    app = web.Application()
    app.router.add_get("/models", daemon.models)
    app.router.add_get("/engines/ps", daemon.ps)
    app.router.add_post("/{path:.*}", daemon.post)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    client = DaemonClient(f"unix://{tmp_path / 's'}")
    yield daemon, client
    await client.close()
    await runner.cleanup()
    (tmp_path / "s").unlink(missing_ok=True)


Fake = tuple[FakeDaemon, DaemonClient]


def test_a_model_is_here_in_any_spelling() -> None:
    """As who submits tasks, or sets up queues, writes its name."""
    name = "huggingface.co/org/m:Q4"
    view = HostView({name: "sha256:1"}, {"sha256:1": LoadedModel(4, 0)})
    for text in (name, "hf.co/Org/M:Q4", "https://www.huggingface.co/org/m:Q4"):
        assert view.has(text)
        assert view.loaded_as(text) == LoadedModel(4, 0)
    assert not view.has("hf.co/org/m:Q8")
    assert view.loaded_as("hf.co/org/m:Q8") is None


async def test_background(fake: Fake) -> None:
    """Its requests say that nobody waits for them."""
    daemon, client = fake
    assert await client.ask("/v1/x", b"{}") == b'{"text": "x"}'
    assert daemon.seen == [("/v1/x", "u=7")]


@pytest.mark.parametrize(
    ("status", "later"), [(400, False), (404, False), (429, True), (502, True), (507, True)]
)
async def test_refused(fake: Fake, status: int, later: bool) -> None:
    """With the daemon's words, and whether another try may go better."""
    daemon, client = fake
    daemon.status, daemon.headers = status, {"Retry-After": "7"}
    daemon.document = {"error": {"message": "no", "code": "x"}}
    with pytest.raises(TaskRefused, match=f"{status}: no") as caught:
        await client.ask("/v1/x", b"{}")
    assert (caught.value.later, caught.value.retry_after) == (later, 7.0)


async def test_room_for_people(fake: Fake) -> None:
    """A request that made room for who waits at the host was not refused."""
    daemon, client = fake
    daemon.status, daemon.document = 503, {"error": {"message": "room", "code": "displaced"}}
    with pytest.raises(Displaced, match="room"):
        await client.ask("/v1/x", b"{}")


async def test_away(fake: Fake, tmp_path: Path) -> None:
    """A daemon that drains, or that is not there, is no fault of a task."""
    daemon, client = fake
    daemon.status, daemon.document = 503, {"error": {"message": "bye", "code": "draining"}}
    with pytest.raises(DaemonAway):
        await client.ask("/v1/x", b"{}")
    nobody = DaemonClient(f"unix://{tmp_path / 'none'}")
    for call in (nobody.ask("/v1/x", b"{}"), nobody.look()):
        with pytest.raises(DaemonAway):
            await call
    await nobody.close()


async def test_what_a_host_has(fake: Fake) -> None:
    """A model is known by all its names."""
    _, client = fake
    view = await client.look()
    for name in ("ai/demo-a:latest", "ai/demo-a", "demo-a", "demo-a:latest", "sha256:1"):
        assert view.has(name)
        assert view.loaded_as(name) == LoadedModel(4, 3)
    assert not view.has("other")
    assert view.loaded_as("other") is None
