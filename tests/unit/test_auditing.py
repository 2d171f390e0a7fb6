"""Which requests of the control plane go into the audit, and what is said of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from runnerd.access import Action
from runnerd.accounts.audit import AuditEntry
from runnerd.api.auditing import audited
from runnerd.api.context import CONTEXT, OUTCOME, Context, json_body
from runnerd.api.routing import Routes
from runnerd.tasks import spawn

COVERS = ("runnerd.api.routing",)


class Kept:
    """Stands for the accounts."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.audit = self

    def called(self, principal: str) -> str:
        return principal or "nobody"

    async def add(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def told(self) -> list[tuple[str, str, int]]:
        return [(entry.action, entry.subject, entry.status) for entry in self.entries]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def app(kept: Kept) -> web.Application:
    routes = Routes()

    @routes.get("/models/{name}", Action.DELETE_MODEL)
    @routes.post("/models/{name}/tag", Action.CREATE_MODEL)
    @routes.post("/create", Action.DOWNLOAD_MODEL)
    @routes.post("/seen", Action.VIEW_MODELS)
    async def handler(request: web.Request) -> web.Response:
        if request.body_exists:
            await json_body(request)
        return web.Response(status=int(request.query.get("status", "200")))

    @routes.delete("/models/{name}", Action.DELETE_MODEL)
    async def waits(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application(middlewares=[audited])
    app[CONTEXT] = cast(Context, SimpleNamespace(accounts=kept))

    @routes.post("/streams", Action.DOWNLOAD_MODEL)
    async def streams(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        request[OUTCOME] = int(request.query["status"])
        await response.write_eof()
        return response

    routes.add_to(app)
    return app


@pytest.fixture
async def http(app: web.Application) -> Any:
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_what_is_told(http: Any, kept: Kept) -> None:
    """The names in the path, in the query, in the body; of an address nothing that is secret."""
    await http.post("/models/ai%2Fm/tag?repo=other&tag=v1")
    await http.post("/create", json={"from": "https://me:pass@host/m.gguf?key=x", "sha256": "0"})
    await http.post("/create", json={"models": ["a", "b", 5], "tag": "t", "token": "secret"})
    assert kept.told() == [
        ("create_model", "ai/m other v1", 200),
        ("download_model", "https://host/m.gguf", 200),
        ("download_model", "a b t", 200),
    ]


async def test_what_is_left_out(http: Any, kept: Kept) -> None:
    """What only looks, and what was refused; not what failed halfway."""
    await http.get("/models/m")
    await http.post("/seen")
    for status in (400, 401, 403, 404, 429, 500, 507):
        await http.post(f"/create?status={status}")
    assert [status for _, _, status in kept.told()] == [500, 507]


async def test_what_fails_after_it_has_begun(http: Any, kept: Kept) -> None:
    """A stream's status is that of its end."""
    for status in (502, 404):
        await http.post(f"/streams?status={status}")
    assert kept.told() == [("download_model", "", 502)]


async def test_whose_client_has_left(kept: Kept, app: web.Application) -> None:
    """It may have happened all the same."""
    route = next(route for route in app.router.routes() if route.method == "DELETE")
    request = cast(
        web.Request,
        SimpleNamespace(
            app=app,
            method="DELETE",
            match_info=_MatchInfo(route, {"name": "m"}),
            query={},
            transport=None,
            get=lambda name, default=None: default,
        ),
    )
    task = spawn(audited(request, route.handler), name="request")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert kept.told() == [("delete_model", "m", 499)]
    assert kept.entries[0].who == "nobody"
    assert kept.entries[0].route == "DELETE /models/{name}"


class _MatchInfo(dict[str, str]):
    def __init__(self, route: object, values: dict[str, str]) -> None:
        super().__init__(values)
        self.route = route
