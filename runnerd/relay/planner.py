"""From a complete request to its plan: every check that needs no runner, in one place.

A request is read once (`read`), its model is looked up (`named_models`), and with that it is
planned (`plan`) for the runner that serves it (`serving_runners`).  What has to be waited for in
between, a model that is being pulled or images that are transcoded, is nothing that this knows of
(`intake`).
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from runnerd.access import Principal
from runnerd.backends.configuration import BackendMode
from runnerd.errors import ClientError, NotSupported
from runnerd.limit_settings import Limits
from runnerd.models.model import Model
from runnerd.relay.body import Body
from runnerd.relay.body_inspection import inspect
from runnerd.relay.body_scan import check_weight, is_heavy
from runnerd.relay.dialect import ForeignRequest, TranslatedRequest, UnreadyRequest
from runnerd.relay.known_model import UNSEEN
from runnerd.relay.messages import Request
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.plan import Plan
from runnerd.relay.plan_making import (
    Served,
    Translated,
    check_needs,
    plain_request,
    plan_request,
    plan_translated,
    same_plan,
)
from runnerd.relay.prompt_length import LongestPrompt, as_engines_say
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.request_rewrites.null_members import without_nulls
from runnerd.relay.request_rewrites.ranked_documents import with_plain_documents
from runnerd.relay.request_rewrites.stop_words import with_said_stops
from runnerd.relay.request_rewrites.undecodable_text import decodable
from runnerd.relay.request_validation import JUDGED_ALWAYS, validate_request
from runnerd.relay.response_adapters.infill import fills_in, infill_wanted
from runnerd.relay.routes import Route
from runnerd.relay.serving_runners import ServingRunners
from runnerd.relay.translations import PASSED
from runnerd.supervisor.keys import Keys

_PLAIN_PLANS = 16  # remembered of one runner and one name of its model

ReadRequest = ParsedRequest | ForeignRequest
"""A request whose body was decoded: one in the engine's terms, or one of another API."""


class Planner:
    """Turns a complete request into a plan."""

    def __init__(self, keys: Keys, limits: Limits) -> None:
        self.keys = keys
        self._limits = limits
        self.serving = ServingRunners(keys)
        self._find = self.serving.find

    def read(
        self, body: Body, route: Route, principal: Principal, *, light: bool = False
    ) -> ReadRequest | UnreadyRequest:
        """Decode a request's body; one in the engine's terms is held against the limits, too.

        `light`: it was looked at, and is not heavy.  Raises errors of the 4xx kind.
        """
        if not light and is_heavy(body):
            check_weight(body, self._limits.json_depth)
        try:
            if not route.rewrites and b"null" not in body:
                return inspect(body, self._limits, weighed=True)
            return self._read(body, route, principal)
        except ClientError:
            if (whole := decodable(body)) is None:
                raise
        return self._read(whole, route, principal)

    def _read(self, body: Body, route: Route, principal: Principal) -> ReadRequest | UnreadyRequest:
        if route.dialect is not None:
            return route.dialect.read(body, principal)
        said = without_nulls(body)
        if route.operation.mode is BackendMode.RERANKING:
            said = with_plain_documents(said)
        return inspect(said, self._limits, weighed=said is body)

    def judge_unseen(self, read: ReadRequest, request: Request, route: Route) -> None:
        """Refuse a request for a model that is not here where no engine would take it, whatever the
        model is.  Raises errors.ClientError.
        """
        if isinstance(read, ParsedRequest):
            if not request.preload_only:
                validate_request(route.operation.name, bytes(read.body))
            return
        translated = read.translated(UNSEEN)
        body = inspect(translated.body, self._limits).body
        if translated.immediate is None:
            validate_request(translated.operation.name, bytes(body))

    def translated(self, read: ForeignRequest, model: Model) -> Translated:
        """A request of another API in the engine's terms, which has the limits; from any thread.

        Raises errors.ClientError and PayloadTooLarge.
        """
        return self._in_our_terms(read.reference, read.translated(model))

    def _in_our_terms(self, reference: str, request: TranslatedRequest) -> Translated:
        inspected = with_said_stops(inspect(request.body, self._limits))
        return Translated(reference, request, *with_known_schemas(inspected))

    def _within(self, context: int, read: Translated) -> Translated:
        """The request with texts that may fit into a context of so many tokens, as far as it can do
        with less.  Raises errors.ContextExceeded.
        """
        operation = read.request.operation.name
        longest = LongestPrompt(context, self._limits.text_bytes)
        while tokens := longest.tokens_beyond(read.asked, operation):
            retry = read.request.retry_with
            body = None if retry is None else retry(as_engines_say(tokens, context))
            if body is None:
                raise longest.refusal()
            read = self._in_our_terms(read.reference, replace(read.request, body=body))
        return read

    def served(self, read: ParsedRequest | Translated, model: Model, route: Route) -> Served:
        """What serves a request, for a plan that is made in a thread: this looks at what belongs to
        the event loop, and at nothing of the body.  Raises as `plan` does.
        """
        if not isinstance(read, Translated):
            operation = route.operation
            if operation.name == "completions" and fills_in(read.fields):
                operation = OPERATIONS["infill"]
            found = self._find(route, operation, read.reference, model)
            if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
                raise NotSupported(remedy)
            return Served(found, found.key, self.keys.context(found.key))
        found = self._find(route, read.request.operation, read.reference, model)
        check_needs(read.request.needs, model, read.reference)
        key, context = found.key, read.request.context
        if context is not None:
            key = self.keys.key(found.backend, found.id, found.mode, context=context)
        size = self.keys.context(key)
        if context is None or not 0 < size < context:
            return Served(found, key, size)
        return Served(
            found, key, size, (f"num_ctx: this model has a context of {size} tokens here",)
        )

    def plan_large(
        self,
        read: ParsedRequest | Translated,
        model: Model,
        request: Request,
        route: Route,
        served: Served,
    ) -> Plan:
        """As `plan`, in a thread: a text that no context holds is not for the engine."""
        if isinstance(read, ParsedRequest):
            longest = LongestPrompt(served.context, self._limits.text_bytes)
            longest.check(read, route.operation.name)
        else:
            read = self._within(served.context, read)
        return self.plan(read, model, request, route, served=served)

    def plan(
        self,
        read: ReadRequest | Translated,
        model: Model,
        request: Request,
        route: Route,
        *,
        served: Served | None = None,
    ) -> Plan:
        """Plan a request for its model.  With what it is `served` by any thread may do so; the
        caller judges then what engines do not (`Plan.is_judged_here`).

        Raises errors of the 4xx kind and NotSupported (501).
        """
        if not isinstance(read, ParsedRequest):
            if not isinstance(read, Translated):
                read = self.translated(read, model)
            served = served or self.served(read, model, route)
            return plan_translated(read, served, request, route)
        operation, infill = route.operation, None
        if operation.name == "completions" and (infill := infill_wanted(read)):
            operation = OPERATIONS["infill"]
        if served is not None:  # in a thread, and too large to be a plain one
            return plan_request(operation, read, served.found, request, infill)
        found = self._find(route, operation, read.reference, model)
        if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
            raise NotSupported(remedy)
        plain = None if infill else plain_request(operation, read, found, request)
        if plain is not None and (same := found.plans.get(plain)) is not None:
            return same_plan(same, read)
        if operation.name in JUDGED_ALWAYS and not request.preload_only:
            validate_request(operation.name, bytes(read.body), found.known)
        plan = plan_request(operation, read, found, request, infill)
        if plain is not None:
            if len(found.plans) >= _PLAIN_PLANS:
                found.plans.clear()
            found.plans[plain] = msgspec.structs.replace(plan, body=(), translation=PASSED)
        return plan
