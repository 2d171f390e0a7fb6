"""Where exchanges are made: for a request that came over a connection, or for the daemon itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runnerd.access import Policy, Principal, PrincipalKind
from runnerd.errors import RouteNotFound, RunnerdError
from runnerd.limit_settings import Limits
from runnerd.observability.trace_context import TraceContext
from runnerd.relay import routes
from runnerd.relay.capture import CapturedResponse, Content
from runnerd.relay.collected_response import Collected, CollectedResponse
from runnerd.relay.exchange import Exchange
from runnerd.relay.exchange_context import ExchangeContext, RunningExchange
from runnerd.relay.intake import Intake, PendingPlan
from runnerd.relay.leasing import Leasing
from runnerd.relay.messages import Request, new_request_id
from runnerd.relay.named_models import NamedModels
from runnerd.relay.pending_models import PendingModels
from runnerd.relay.plain_requests import PlainRequests
from runnerd.relay.plan import NO_PLAN, Plan
from runnerd.relay.planner import Planner
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.records import LOAD, Records, RequestRecord
from runnerd.relay.request_permissions import RequestPermissions
from runnerd.relay.response_sink import ResponseSink
from runnerd.relay.routes import Route
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.relay.streamed_response import StreamedResponse
from runnerd.relay.unread_streams import UnreadStreams
from runnerd.relay.user_accounts import UserAccounts

_COLLECTED_BYTES = 64 * 2**20  # of a response inside the daemon
_UNREAD_BYTES = 2**16  # of one that is read piece by piece, until its engine has to wait


@dataclass(frozen=True, slots=True)
class ExchangeDependencies:
    """What exchanges are made from."""

    limits: Limits
    planner: Planner
    named_models: NamedModels
    supervisor: Leasing
    records: Records
    policy: Policy
    images_dir: Path  # for images on their way to an engine that cannot read them
    dialects: Mapping[str, Route] = field(default_factory=dict)  # by path
    pending_models: PendingModels | None = None
    captures: Callable[[], bool] = lambda: False  # whether content is kept
    ended: Callable[[Principal, RequestRecord], None] = lambda principal, record: None
    trace_of: Callable[[Iterable[tuple[bytes, bytes]]], TraceContext] | None = None  # of headers


class Exchanges:
    """Checks, plans and records inference requests; what becomes of each is its exchange's."""

    def __init__(self, parts: ExchangeDependencies) -> None:
        limits = parts.limits
        self._dialects = parts.dialects
        self._records = parts.records
        self._captures = parts.captures
        self._trace_of = parts.trace_of
        self._streamed: dict[Exchange, Principal] = {}  # those that are read inside the daemon
        self.accounts = UserAccounts(parts.policy, time.time)
        quarantine = Quarantine()
        self.runner_lost = quarantine.lost
        permissions = RequestPermissions(parts.policy, parts.named_models)
        self.authorize = permissions.authorize
        self._intake = Intake(
            parts.planner,
            parts.named_models,
            permissions,
            quarantine,
            parts.pending_models,
            PlainRequests(parts.policy, parts.named_models, parts.planner),
            images_dir=parts.images_dir,
            limits=limits,
        )
        self._context = ExchangeContext(
            parts.supervisor,
            limits,
            EnginePools(limits.requests_per_runner),
            StallTimeouts(limits.upstream_timeout),
            UnreadStreams(lambda key: parts.supervisor.wanted(key)),
            quarantine,
            parts.ended,
            permissions.still_allowed,
        )

    def route(self, path: str) -> Route | None:
        """The inference route of a path, in whichever dialect."""
        return self._dialects.get(path) or routes.find(path)

    async def collected(
        self, path: str, body: bytes, principal: Principal, *, preload_only: bool = False
    ) -> Collected:
        """Ask as a request of a route would, without a connection.

        With `preload_only` the model is loaded and nothing is generated.  Cancelling leaves, as a
        client does.  Raises the errors that a client would be told.
        """
        sink = CollectedResponse(_COLLECTED_BYTES)
        request = _request(path, body, preload_only=preload_only)
        exchange = self.exchange(sink, request, self._known_route(path), principal)
        exchange.start()
        try:
            return await sink.result()
        except asyncio.CancelledError:
            exchange.cancel()
            raise

    @asynccontextmanager
    async def streamed(
        self,
        path: str,
        body: bytes,
        principal: Principal,
        *,
        session: str = "",
        background: bool = False,
    ) -> AsyncIterator[StreamedResponse]:
        """Ask as a request of a route would; the response is read as it comes.

        Leaving the `with` block before the end of the response cancels it, as a client does that
        leaves.  `session` is what the request goes on with: it gets the instance that the last one
        of that session had.  One in the `background` comes behind everybody who waits for a
        response.  Raises the errors that a client would be told: here, or where the response is
        read.
        """
        sink = StreamedResponse(_UNREAD_BYTES)
        request = _request(path, body, session=session, background=background)
        exchange = self.exchange(sink, request, self._known_route(path), principal)
        sink.control(
            lambda paused: exchange.flow(paused=paused), exchange.cancel, exchange.record.waits
        )
        self._streamed[exchange] = principal
        sink.has_place = False
        try:
            exchange.start()
            yield sink
        finally:
            del self._streamed[exchange]
            if not sink.ended:
                exchange.cancel()

    def enforce(self) -> None:
        """End what is read inside the daemon for who may not ask it any more."""
        for exchange, principal in list(self._streamed.items()):
            exchange.enforce(principal)

    def _known_route(self, path: str) -> Route:
        if (route := self.route(path)) is None:
            raise RouteNotFound(f"no such route: POST {path[:200]}")
        return route

    def exchange(
        self, sink: ResponseSink, request: Request, route: Route, principal: Principal
    ) -> Exchange:
        """The exchange of a complete request, not yet started.

        Raises errors of the 4xx kind; the request is recorded either way.
        """
        dialect = route.dialect
        record = RequestRecord(
            id=request.id,
            model="",
            operation=LOAD if request.preload_only else route.operation.name,
            origin=(dialect.origin if dialect is not None else None) or request.origin,
            user_agent=request.user_agent,
            streamed=False,
            bytes_in=request.received,
            principal=principal.id,
        )
        if self._trace_of is not None:
            record.trace = self._trace_of(request.headers)
        self._records.add(record)
        if self._captures():
            sink = self._captured(sink, request, record)
        counted = None
        try:
            if principal.kind is PrincipalKind.USER:
                counted = self.accounts.begin(principal)
            plan = self._intake.plan(request, route, principal)
            if counted is not None and isinstance(plan, Plan):
                plan = counted.reserve(plan)
        except Exception as error:
            if counted is not None:
                counted.ended(record)
            if isinstance(error, RunnerdError):
                record.status, record.error = error.status, error.message[:500]
                record.duration = 0.0
                self._context.ended(principal, record)
            raise
        pending = None
        if isinstance(plan, PendingPlan):
            pending, plan = plan, NO_PLAN
        else:
            record.model, record.streamed = plan.model, plan.streams
            if dialect is not None or plan.operation is not route.operation:
                record.operation = plan.recorded_as
        return Exchange(sink, plan, record, self._context, principal, counted, pending)

    def _captured(
        self, sink: ResponseSink, request: Request, record: RequestRecord
    ) -> ResponseSink:
        """The sink, listened to: the owner wants to see what is asked and answered."""
        content = Content.of(request.target.decode("latin-1"), request.body)
        self._records.keep_content(record, content)
        return CapturedResponse(sink, content, request.error_format)

    def running(self) -> list[RunningExchange]:
        """Those that have started and are not over, the oldest first."""
        return sorted(self._context.running, key=lambda each: each.record.clock)

    def count_running(self) -> int:
        """How many have started and are not over."""
        return len(self._context.running)

    def close(self) -> None:
        """Give timers and connections back; to be called when no exchange is left."""
        self._context.watch.close()
        self._context.unread.close()
        self._context.pools.close()


def _request(
    path: str,
    body: bytes,
    *,
    preload_only: bool = False,
    session: str = "",
    background: bool = False,
) -> Request:
    """A request that came over no connection."""
    return Request(
        method="POST",
        target=path.encode(),
        path=path,
        headers=[],
        http11=True,
        keep_alive=True,
        length=len(body),
        chunked=False,
        id=new_request_id(None),
        preload_only=preload_only,
        body=body,
        received=len(body),
        complete=True,
        session=session,
        background=background,
    )
