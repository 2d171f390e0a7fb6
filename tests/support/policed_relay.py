"""A relay with every route of both planes and the real policy, behind which nothing is real.

What the policy lets in is told by a status of its own: 200 by the control plane's handlers, 501 by
whatever would be asked of a runner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web

from runnerd.access import (
    NOBODY,
    Action,
    ListenerKind,
    Peer,
    PeerRules,
    Principal,
    Rules,
)
from runnerd.api.anthropic import dialect as anthropic
from runnerd.api.app import make_app
from runnerd.api.context import Context
from runnerd.api.ollama import dialects
from runnerd.api.openai import responses, transcriptions
from runnerd.api.routing import ACTIONS
from runnerd.backends.configuration import BackendMode
from runnerd.limit_settings import Limits
from runnerd.relay.admission import Admission
from runnerd.relay.body import Body
from runnerd.relay.exchanges import ExchangeDependencies, Exchanges
from runnerd.relay.messages import Request
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.plan import Plan
from runnerd.relay.records import Records
from runnerd.relay.routes import V1_PREFIXES, Route
from runnerd.relay.service import Relay, RelayDependencies
from runnerd.scheduler import RunnerKey
from runnerd.sockets.listeners import listen_tcp, listen_unix
from tests.support.supervisors import NoRunners

OTHER_APIS = {
    **anthropic.routes(),
    **dialects.routes(),
    **responses.routes(cast(Any, None)),
    **transcriptions.routes(),
}
INFERENCE = [
    *(f"{prefix}/{operation}" for prefix in V1_PREFIXES for operation in OPERATIONS),
    *(f"/runners/0123abcd/v1/{operation}" for operation in OPERATIONS),
    *("/rerank", "/reranking", "/engines/rerank", "/engines/reranking", "/v2/rerank"),
    *("/engines/llama.cpp/rerank", "/engines/llama.cpp/reranking", "/v2/reranking"),
    *(path for path in OTHER_APIS),
]


class PlansAnything:
    """A planner whose models are all there."""

    def read(self, body: Body, route: Route, principal: Principal, *, light: bool = False) -> Any:
        return SimpleNamespace(reference="ai/m")

    def model(self, reference: str, route: Route, principal: Principal) -> Any:
        return SimpleNamespace(capabilities=("completion",), id="sha256:0")

    def plan(self, read: Any, model: Any, request: Request, route: Route) -> Plan:
        return Plan(
            operation=route.operation,
            key=RunnerKey("llama.cpp", "load", BackendMode.COMPLETION, ""),
            model="sha256:0",
            model_ref="ai/m",
            body=(b"{}",),
            streams=False,
            assembles=False,
            prompts=1,
            preload_only=request.preload_only,
            origin=None,
            immediate=b"{}",
        )


class NoAudit:
    """An audit that nobody reads."""

    async def add(self, entry: object) -> None: ...


class Unused:
    """A part of the daemon that nothing reaches."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used")


async def let_in(request: web.Request) -> web.Response:
    """What stands for every handler."""
    await request.read()
    return web.json_response({"let": "in"})


class OnePeer:
    """Takes everybody for the relay's peer."""

    rules = PeerRules()

    def __init__(self, relay: PolicedRelay) -> None:
        self._relay = relay

    def find(self, transport: object) -> tuple[Peer, bool]:
        return Peer(ListenerKind.UNIX), False

    def principal(self, peer: Peer, forwarded_for: str) -> Principal:
        return self._relay.peer

    def close(self) -> None: ...


class PolicedRelay:
    """Owns the relay; `peer` is who is at the other end of the connections that are made next."""

    def __init__(self, folder: Path, policy: Rules) -> None:
        self.policy = policy
        self.peer = NOBODY
        self.socket = folder / "r.sock"
        self.port = 0
        parts: dict[str, Any] = dict.fromkeys(Context.__dataclass_fields__, Unused())
        accounts = SimpleNamespace(audit=NoAudit(), called=str)
        parts |= {"policy": policy, "accounts": accounts}
        self.app = make_app(Context(**parts), OTHER_APIS)
        for route in self.app.router.routes():
            route._handler = let_in
        exchanges = Exchanges(
            ExchangeDependencies(
                limits=Limits(),
                planner=cast(Any, PlansAnything()),
                named_models=cast(Any, PlansAnything()),
                supervisor=NoRunners(),
                records=Records(),
                policy=policy,
                images_dir=folder / "images",
                dialects=OTHER_APIS,
            )
        )
        self.relay = Relay(
            RelayDependencies(
                limits=Limits(),
                admission=Admission(),
                exchanges=exchanges,
                app=self.app,
                authenticate=policy.authenticate,
                peers=cast(Any, OnePeer(self)),
            )
        )

    async def open(self) -> None:
        """Listen on a Unix socket and on loopback."""
        unix = listen_unix(self.socket, mode=0o600, group=None)
        tcp = listen_tcp("127.0.0.1", 0)
        self.port = tcp[0].getsockname()[1]
        await self.relay.open([unix, *tcp])

    async def close(self) -> None:
        """Listen no more."""
        await self.relay.close()
        self.socket.unlink(missing_ok=True)


class _Examples(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "x"


_EXAMPLES = _Examples(
    name="ai/m", user="u", backend="llama.cpp", digest="sha256:0", prefix="", key="k"
)
"""What stands for a variable part of a path; "x" for those that take anything."""


def control_plane(app: web.Application) -> Iterator[tuple[str, str, Action]]:
    """Each route of the control plane: a method, a path that reaches it, and its action."""
    for route, action in app[ACTIONS].items():
        assert route.resource is not None
        info = route.resource.get_info()
        path = info.get("path") or info["formatter"].format_map(_EXAMPLES)
        yield route.method, path, action


@asynccontextmanager
async def policed_relay(folder: Path, policy: Rules) -> AsyncIterator[PolicedRelay]:
    """A relay that listens; its peers are who `peer` says."""
    relay = PolicedRelay(folder, policy)
    await relay.open()
    try:
        yield relay
    finally:
        await relay.close()
