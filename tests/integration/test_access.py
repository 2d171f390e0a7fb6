"""Every route of every listener asks the policy before anything else happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from runnerd.access import Action, Principal, UserLimits
from runnerd.access.users import NO_LIMITS
from runnerd.api.app import make_app
from runnerd.api.context import CONTEXT, Context
from runnerd.api.routing import ACTIONS, Routes, check_actions
from runnerd.errors import Forbidden
from runnerd.limit_settings import Limits
from runnerd.relay.admission import Admission
from runnerd.relay.exchanges import ExchangeDependencies, Exchanges
from runnerd.relay.records import Records
from runnerd.relay.routes import Route
from runnerd.relay.service import Relay, RelayDependencies
from runnerd.sockets.listeners import listen_unix
from tests.support.policed_relay import INFERENCE, OTHER_APIS, PlansAnything, control_plane


class Refusing:
    """A policy that refuses everything and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, Action]] = []

    def authenticate(self, secret: str) -> None:
        return None

    def check(self, principal: Principal, action: Action) -> None:
        self.asked.append((principal, action))
        raise Forbidden(f"not allowed: {action}")

    def grants(self, principal: Principal) -> None:
        return None

    def rights(self, principal: Principal) -> None:
        return None

    def sees_everything(self, principal: Principal) -> bool:
        return False

    def limits(self, principal: Principal) -> UserLimits:
        return NO_LIMITS


class Untouched:
    """A part of the daemon that must not be reached."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used although the policy refuses")


@pytest.fixture
def policy() -> Refusing:
    return Refusing()


@pytest.fixture
def app(policy: Refusing) -> web.Application:
    parts: dict[str, Any] = dict.fromkeys(Context.__dataclass_fields__, Untouched())
    return make_app(Context(**parts | {"policy": policy}), OTHER_APIS)


@pytest.fixture
async def http(
    policy: Refusing, app: web.Application, tmp_path: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a relay whose policy refuses everything."""
    relay = Relay(
        RelayDependencies(
            limits=Limits(),
            admission=Admission(),
            exchanges=Exchanges(
                ExchangeDependencies(
                    limits=Limits(),
                    planner=cast(Any, PlansAnything()),
                    named_models=cast(Any, PlansAnything()),
                    supervisor=cast(Any, Untouched()),
                    records=Records(),
                    policy=policy,
                    images_dir=tmp_path / "images",
                    dialects=OTHER_APIS,
                )
            ),
            app=app,
        )
    )
    path = tmp_path / "r.sock"
    await relay.open([listen_unix(path, mode=0o600, group=None)])
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as http:
        yield http
    await relay.close()
    path.unlink(missing_ok=True)


async def test_every_route_of_the_control_plane(
    http: aiohttp.ClientSession, app: web.Application, policy: Refusing
) -> None:
    """403 before a handler touches anything; the principal is who has connected."""
    routes = list(control_plane(app))
    assert len(routes) > 60
    for method, path, action in routes:
        policy.asked.clear()
        # A body, since some say there who asks.
        async with http.request(method, path, json={}) as response:
            assert response.status == 403, (method, path)
        ((principal, asked),) = policy.asked
        assert principal.uid is not None
        if (method, path) not in SHADOWED:
            assert asked is action, (method, path)


SHADOWED = {("POST", "/models/ai/m/x")}  # another route takes some of what this one would


@pytest.mark.parametrize("path", INFERENCE)
async def test_every_inference_route(
    http: aiohttp.ClientSession, policy: Refusing, path: str
) -> None:
    """403 before anything is queued; the rest of a connection is served as before."""
    for _ in range(2):  # the second one's head is remembered
        async with http.post(path, **BODIES.get(OTHER_APIS.get(path), JSON)) as response:
            assert response.status == 403, await response.text()
    assert {action for _, action in policy.asked} == {Action.USE_MODEL}


JSON: dict[str, Any] = {"json": {"model": "m"}}
BODIES: dict[Route | None, dict[str, Any]] = {
    route: {"data": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    for route in OTHER_APIS.values()
    if route.media_type != b"application/json"
}


async def test_loading_is_an_action_of_its_own(
    http: aiohttp.ClientSession, policy: Refusing
) -> None:
    """A request that only loads a model asks for that."""
    agent = {"User-Agent": "docker-model/1", "X-Preload-Only": "true"}
    async with http.post("/v1/completions", json={"model": "m"}, headers=agent) as response:
        assert response.status == 403
    assert [action for _, action in policy.asked] == [Action.LOAD_MODEL]


async def test_preflight_and_unknown_paths(http: aiohttp.ClientSession, policy: Refusing) -> None:
    """OPTIONS does nothing, and what is not there has no action."""
    for method, path, status in (
        ("OPTIONS", "/models", 405),
        ("GET", "/nothing", 404),
        ("PUT", "/models", 405),
        ("GET", "/v1/chat/completions", 405),
    ):
        async with http.request(method, path) as response:
            assert response.status == status
    assert policy.asked == []


def test_a_route_without_an_action_does_not_start(app: web.Application) -> None:
    """Whoever adds one in another way is told so."""

    async def handler(request: web.Request) -> web.Response:
        raise NotImplementedError

    app.router.add_get("/new", handler)
    with pytest.raises(LookupError, match="/new"):
        check_actions(app)


async def test_the_model_that_an_action_concerns() -> None:
    """Each declared route keeps its own action, also where several share a handler."""
    routes = Routes()

    @routes.get("/a", Action.VIEW_LOGS)
    @routes.post("/b", Action.DELETE_MODEL)
    async def handler(request: web.Request) -> web.Response:
        raise NotImplementedError

    app = web.Application()
    routes.add_to(app)
    check_actions(app)
    assert CONTEXT not in app
    found = {(route.method, action) for route, action in app[ACTIONS].items()}
    assert found == {
        ("GET", Action.VIEW_LOGS),
        ("HEAD", Action.VIEW_LOGS),
        ("POST", Action.DELETE_MODEL),
    }
    await asyncio.sleep(0)
