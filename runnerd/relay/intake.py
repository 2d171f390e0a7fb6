"""From a complete request to its plan, or to what has to be waited for first.

A body that takes long to look at is read, and written for its engine, in threads, and so is one
with a large schema or grammar that nobody has sent before (`aside`); a model that is being pulled
is waited for, images that the engine cannot read are transcoded.  Each request is read once and
planned once, whatever it waits for, or begun anew in a thread; and before anything is done or said
of a model, the policy was asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from runnerd import threads
from runnerd.access import Principal, UserLimits
from runnerd.errors import ClientError, ModelNotFound
from runnerd.limit_settings import Limits
from runnerd.models.model import Model
from runnerd.relay.aside import TakesLonger
from runnerd.relay.body import UNDECODABLE, Body, undecodable
from runnerd.relay.body_scan import is_heavy
from runnerd.relay.dialect import UnreadyRequest
from runnerd.relay.fair_turns import FairTurns
from runnerd.relay.messages import Request
from runnerd.relay.named_models import NamedModels
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.pending_models import PendingModels, Wait
from runnerd.relay.plain_requests import PlainRequests
from runnerd.relay.plan import Plan
from runnerd.relay.plan_making import Translated
from runnerd.relay.planner import Planner, ReadRequest
from runnerd.relay.quarantine import Kind, Quarantine, kinds_of
from runnerd.relay.request_permissions import RequestPermissions
from runnerd.relay.request_rewrites.transcode import ImageTranscoder
from runnerd.relay.routes import Route


class PendingPlan(NamedTuple):
    """A plan that takes waiting; `streams`: for a stream of events that a comment can be put in."""

    streams: bool
    wait: Callable[[], Awaitable[Plan | PendingPlan]]

    async def next(self) -> Plan | PendingPlan:
        """Wait.  Raises as `Intake.plan` does."""
        try:
            return await self.wait()
        except UNDECODABLE as error:
            raise undecodable(error) from error


class _Asked(NamedTuple):
    """A request that is being planned, and who makes it."""

    read: ReadRequest
    request: Request
    route: Route
    principal: Principal
    large: bool = False

    @property
    def streams(self) -> bool:
        return isinstance(self.read, ParsedRequest) and self.read.fields.stream is True


class Intake:
    """Takes requests in.  `images_dir` and `limits` are the transcoder's."""

    def __init__(
        self,
        planner: Planner,
        named_models: NamedModels,
        permissions: RequestPermissions,
        quarantine: Quarantine,
        pending_models: PendingModels | None,
        plain_requests: PlainRequests,
        *,
        images_dir: Path,
        limits: Limits,
    ) -> None:
        self._planner = planner
        self._named_models = named_models
        self._permissions = permissions
        self._quarantine = quarantine
        self._pending_models = pending_models
        self._plain_requests = plain_requests
        self._transcoder = ImageTranscoder(images_dir, limits)
        # One large body after the other: what they become is larger. `BodyBudget` bounds who waits.
        self._turns = FairTurns("the reading of large requests")

    def plan(self, request: Request, route: Route, principal: Principal) -> Plan | PendingPlan:
        """Plan a complete request.  Raises errors of the 4xx kind and NotSupported (501)."""
        self._permissions.authorize(request, route, principal)
        if not is_heavy(request.body):
            try:
                read = self._planner.read(request.body, route, principal, light=True)
                if isinstance(read, ParsedRequest) and read.is_plain:
                    plan = self._plain_requests.plan(read, request, route, principal)
                    if plan is not None:
                        if self._quarantine:
                            self._quarantine.check(plan.key, plan.body)
                        return plan
                if isinstance(read, UnreadyRequest):
                    return self._unready(read, request, route, principal)
                return self._of(read, request, route, principal)
            except TakesLonger:
                pass  # not `suppress`, which makes three calls of every request
            except UNDECODABLE as error:  # of a member: its syntax was right, and its value is none
                raise undecodable(error) from error
        return PendingPlan(False, lambda: self._read_aside(request, route, principal))

    def _unready(
        self, read: UnreadyRequest, request: Request, route: Route, principal: Principal
    ) -> PendingPlan:
        async def gathered() -> Plan | PendingPlan:
            # However short it is, what it goes on from may be long.
            return self._of(await read.gather(), request, route, principal, large=True)

        return PendingPlan(read.streams, gathered)

    async def _read_aside(
        self, request: Request, route: Route, principal: Principal
    ) -> Plan | PendingPlan:
        """Read a large body beside the event loop."""
        async with self._turns.turn(principal.id):
            read = await threads.run(self._planner.read, request.body, route, principal)
        if isinstance(read, UnreadyRequest):
            read = await read.gather()
        return self._of(read, request, route, principal, large=True)

    def _of(
        self,
        read: ReadRequest,
        request: Request,
        route: Route,
        principal: Principal,
        *,
        large: bool = False,
    ) -> Plan | PendingPlan:
        """Go on with a request that was read; a `large` one is looked at in threads alone."""
        try:
            model = self._named_models.model(read.reference, route, principal)
        except ModelNotFound:
            asked = _Asked(read, request, route, principal, large)
            if large:
                return PendingPlan(False, lambda: self._missing(asked))
            if (wait := self._expected(asked)) is None:
                raise
            return PendingPlan(asked.streams, lambda: self._arrived(asked, wait))
        if large:
            asked = _Asked(read, request, route, principal, large)
            return PendingPlan(False, lambda: self._large(asked, model))
        return self._for_model(read, model, request, route, principal)

    def _for_model(
        self, read: ReadRequest, model: Model, request: Request, route: Route, principal: Principal
    ) -> Plan | PendingPlan:
        if "vision" in model.capabilities and self._transcoder.wanted(_readable(read, request)):
            asked = _Asked(read, request, route, principal)
            return PendingPlan(asked.streams, lambda: self._transcoded(asked, model))
        try:
            plan = self._planner.plan(read, model, request, route)
        except TakesLonger:
            asked = _Asked(read, request, route, principal)
            return PendingPlan(asked.streams, lambda: self._planned_aside(asked, model))
        accepted, limits = self._accepted(plan, request, principal)
        if isinstance(read, ParsedRequest) and limits.context is None:
            self._plain_requests.note(read, model, request, route, principal, accepted.priority)
        return accepted

    async def _large(self, asked: _Asked, model: Model) -> Plan | PendingPlan:
        """Go on with a large request for a model that is here."""
        if "vision" in model.capabilities:
            body = _readable(asked.read, asked.request)
            if await threads.run(self._transcoder.wanted, body):
                return PendingPlan(asked.streams, lambda: self._transcoded(asked, model))
        return await self._planned_aside(asked, model)

    def _accepted(
        self, plan: Plan, request: Request, principal: Principal
    ) -> tuple[Plan, UserLimits]:
        plan, limits = self._permissions.permitted(plan, request, principal)
        if limits.context is not None and plan.immediate is None:
            plan = plan.limited(limits.context)
        if self._quarantine and plan.immediate is None:
            self._quarantine.check(plan.key, plan.body)
        return plan, limits

    async def _missing(self, asked: _Asked) -> PendingPlan:
        """Go on with a large request for a model that is not here: it is judged in a thread, and so
        before it is known whether the model is coming.
        """
        error: ClientError | None = None
        try:
            await threads.run(self._judge, asked)
        except ClientError as found:
            error = found

        def judged() -> None:
            if error is not None:
                raise error

        if (wait := self._expected(asked, judged)) is None:
            self._named_models.model(asked.read.reference, asked.route, asked.principal)
            return PendingPlan(False, lambda: self._arrived(asked, _nothing))  # it has come
        return PendingPlan(asked.streams, lambda: self._arrived(asked, wait))

    def _judge(self, asked: _Asked) -> None:
        self._planner.judge_unseen(asked.read, asked.request, asked.route)

    def _expected(self, asked: _Asked, judge: Callable[[], None] | None = None) -> Wait | None:
        """How to wait for a missing model, None where it is not coming."""
        if self._pending_models is None or asked.route.runner is not None:
            return None
        reference, principal = asked.read.reference, asked.principal
        if not self._named_models.may_be(reference, principal):
            return None
        return self._pending_models.expect(
            reference,
            judge or partial(self._judge, asked),
            puller=self._permissions.puller(principal),
        )

    async def _arrived(self, asked: _Asked, wait: Wait) -> Plan | PendingPlan:
        await wait()
        model = self._named_models.model(asked.read.reference, asked.route, asked.principal)
        read, request, route, principal, large = asked
        if large:
            return await self._large(asked, model)
        return self._for_model(read, model, request, route, principal)

    async def _transcoded(self, asked: _Asked, model: Model) -> Plan:
        """Plan a request with its images as the engine can read them."""
        readable = _readable(asked.read, asked.request)
        body = await self._transcoder.transcoded(readable, asked.principal.id)
        read = await threads.run(_read_again, asked, body)
        if isinstance(read, UnreadyRequest):
            read = await read.gather()
        return await self._planned_aside(asked._replace(read=read), model)

    async def _planned_aside(self, asked: _Asked, model: Model) -> Plan:
        """Plan a large request: whatever looks at all of it, or writes it anew, does so in a
        thread, and the event loop finds what is looked up.
        """
        planner, request, route = self._planner, asked.request, asked.route
        async with self._turns.turn(asked.principal.id):
            read = await self._translated_aside(asked.read, model)
            served = planner.served(read, model, route)
            made = await threads.run(planner.plan_large, read, model, request, route, served)
        plan, limits = self._permissions.permitted(made, request, asked.principal)
        context = limits.context
        watched = bool(self._quarantine) and plan.immediate is None
        async with self._turns.turn(asked.principal.id):
            plan, kinds = await threads.run(_looked_at, plan, context, watched=watched)
        self._quarantine.check_kinds(kinds)
        return plan

    async def _translated_aside(
        self, read: ReadRequest, model: Model
    ) -> ParsedRequest | Translated:
        if isinstance(read, ParsedRequest):
            return read
        return await threads.run(self._planner.translated, read, model)


async def _nothing() -> None:
    """What there is to wait for when a model is here already."""


def _looked_at(plan: Plan, context: int | None, *, watched: bool) -> tuple[Plan, list[Kind]]:
    """A large plan within a user's limit, judged where no engine does that, and what a request is
    known by that is `watched`.
    """
    if plan.is_judged_here:
        plan.validate_request()
    if context is not None and plan.immediate is None:
        plan = plan.limited(context)
    return plan, kinds_of(plan.key, plan.body) if watched else []


def _readable(read: ReadRequest, request: Request) -> Body:
    """A request's body as it was read: of one in the engine's terms what was mended is kept."""
    return read.body if isinstance(read, ParsedRequest) else request.body


def _read_again(asked: _Asked, body: Body) -> ReadRequest | UnreadyRequest:
    """Read a body that differs in its images; what was inspected before is not inspected again."""
    dialect = asked.route.dialect
    return parse(body) if dialect is None else dialect.read(body, asked.principal)
