"""From a complete request to its plan: every check that needs no runner, in one place.

A request is read once (`read`), its model is looked up (`named_models`), and with that it is
planned (`plan`) for the runner that serves it (`serving_runners`).  What has to be waited for in
between, a model that is being pulled or images that are transcoded, is nothing that this knows of
(`intake`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from runnerd.access import Principal
from runnerd.backends.configuration import BackendMode
from runnerd.config import Limits
from runnerd.errors import (
    ClientError,
    NotSupported,
)
from runnerd.models.catalog import Model
from runnerd.relay.affinity import affinity_of
from runnerd.relay.body import Body, Inference
from runnerd.relay.body_inspection import inspect
from runnerd.relay.body_scan import check_weight, is_heavy
from runnerd.relay.dialect import ForeignRequest, Retry, TranslatedRequest, UnreadyRequest
from runnerd.relay.engine import Buffer
from runnerd.relay.engine_bodies import (
    completed_request,
    engine_body,
    retry_within_rules,
    translated_body,
)
from runnerd.relay.known_model import UNSEEN
from runnerd.relay.messages import Request
from runnerd.relay.operations import OPERATIONS, Operation
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.plan import Plan
from runnerd.relay.request_rewrites.known_schemas import has_schemas, with_known_schemas
from runnerd.relay.request_rewrites.null_members import without_nulls
from runnerd.relay.request_rewrites.ranked_documents import with_plain_documents
from runnerd.relay.request_rewrites.stop_words import with_said_stops
from runnerd.relay.request_rewrites.undecodable_text import decodable
from runnerd.relay.request_validation import JUDGED_ALWAYS, validate_request
from runnerd.relay.response_adapters.infill import Infill, infill_wanted
from runnerd.relay.response_adapters.logprobs import half_characters_wanted
from runnerd.relay.response_adapters.select import translation_of
from runnerd.relay.response_adapters.unparsed_end import can_be_unparsed, with_an_end
from runnerd.relay.routes import Route
from runnerd.relay.serving_runners import PlainRequest, ServingRunner, ServingRunners
from runnerd.relay.tool_plans import ToolPlan, tool_plan
from runnerd.relay.translations import PASSED, Assembled
from runnerd.supervisor.keys import Keys

_PLAIN_PLANS = 16  # remembered of one runner and one name of its model

ReadRequest = ParsedRequest | ForeignRequest
"""A request whose body was decoded: one in the engine's terms, or one of another API."""


class Translated(NamedTuple):
    """A request of another API, by the model that it names, in the engine's terms."""

    reference: str
    request: TranslatedRequest
    asked: ParsedRequest
    warnings: tuple[str, ...]


class Planner:
    """Turns a complete request into a plan."""

    def __init__(self, keys: Keys, limits: Limits) -> None:
        self._keys = keys
        self._limits = limits
        self._find = ServingRunners(keys).find

    def read(self, body: Body, route: Route, principal: Principal) -> ReadRequest | UnreadyRequest:
        """Decode a request's body; one in the engine's terms is held against the limits, too.

        Raises errors of the 4xx kind.
        """
        if is_heavy(body):
            check_weight(body, self._limits.json_depth)
        try:
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
        translated = read.translated(model)
        inspected = with_said_stops(inspect(translated.body, self._limits))
        return Translated(read.reference, translated, *with_known_schemas(inspected))

    def plan(
        self,
        read: ReadRequest | Translated,
        model: Model,
        request: Request,
        route: Route,
        *,
        judges: bool = True,
    ) -> Plan:
        """Plan a request for its model.  Without `judges` the caller judges what engines do not
        (`Plan.is_judged_here`).  Raises errors of the 4xx kind and NotSupported (501).
        """
        if isinstance(read, Translated):
            return self._translated(read, model, request, route)
        if not isinstance(read, ParsedRequest):
            return self._translated(self.translated(read, model), model, request, route)
        operation, infill = route.operation, None
        if operation.name == "completions" and (infill := infill_wanted(read)):
            operation = OPERATIONS["infill"]
        found = self._find(route, operation, read.reference, model)
        if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
            raise NotSupported(remedy)
        plain = None if infill else _plain_request(operation, read, found, request)
        if plain is not None and (same := found.plans.get(plain)) is not None:
            return _same_plan(same, read)
        if judges and operation.name in JUDGED_ALWAYS and not request.preload_only:
            validate_request(operation.name, bytes(read.body), found.known)
        plan = _planned(operation, read, found, request, infill)
        if plain is not None:
            if len(found.plans) >= _PLAIN_PLANS:
                found.plans.clear()
            found.plans[plain] = msgspec.structs.replace(plan, body=(), translation=PASSED)
        return plan

    def _translated(self, read: Translated, model: Model, request: Request, route: Route) -> Plan:
        """Plan a request of another API."""
        assert route.dialect is not None
        reference, translated, asked, told = read
        operation = translated.operation
        found = self._find(route, operation, reference, model)
        tools = tool_plan(operation.name, asked) if found.backend.streams_to_cancel else None
        _check_needs(translated.needs, model, reference)
        if translated.limit is not None and found.rules is not None:
            translated.limit.tokens = found.rules.limit(translated.limit.tokens)
        key, warnings = found.key, translated.warnings + told
        if translated.context is not None:
            key = self._keys.key(found.backend, found.id, found.mode, context=translated.context)
            if 0 < (size := self._keys.context(key)) < translated.context:
                warnings += (f"num_ctx: this model has a context of {size} tokens here",)
        if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
            raise NotSupported(remedy)
        plan = Plan(
            operation=operation,
            key=key,
            model=found.id,
            model_ref=reference,
            body=translated_body(translated, asked, found.rules),
            streams=translated.translation.streams,
            assembles=False,
            prompts=1,
            preload_only=request.preload_only,
            origin=route.dialect.origin or request.origin,
            translation=translated.translation,
            keep_alive=translated.keep_alive,
            immediate=translated.immediate,
            unloads=translated.unloads,
            affinity=affinity_of(asked.fields, request.session) if found.spreads else (),
            known=found.known,
            retry_with=retry_within_rules(translated, found.rules),
            warnings=warnings,
            before_end=translated.before_end,
        )
        if tools is not None:
            body_of = partial(translated_body, translated, rules=found.rules)
            second = retry_within_rules(translated, found.rules, second=True)
            plan = _with_tools(plan, tools, body_of, second)
        return _with_an_end(plan, asked.fields)


def _check_needs(needs: tuple[str, ...], model: Model, reference: str) -> None:
    """Refuse what a request needs and a model cannot, in words that Ollama's clients look for."""
    for need in needs:
        if need not in model.capabilities:
            name = repr(reference[:120]).replace("'", '"')
            raise ClientError(f"{name} does not support {need}", param="model")


def _with_tools(
    plan: Plan,
    tools: ToolPlan,
    body_of: Callable[[ParsedRequest], tuple[Buffer, ...]],
    second: Retry | None = None,
) -> Plan:
    """The plan with a call that is forced, or with a second question where none comes."""
    again = None
    if tools.again is not None:
        again = msgspec.structs.replace(plan, body=body_of(tools.again), retry_with=second)
    return msgspec.structs.replace(
        plan,
        body=body_of(tools.request),
        translation=tools.wrap(plan.translation),
        assembles=plan.assembles and again is None,  # else its end would be waited for
        again=again,
    )


def _with_an_end(plan: Plan, fields: Inference) -> Plan:
    """The plan with an end for a response that its engine cannot read, whichever is asked for."""
    operation, model = plan.operation.name, plan.model_ref
    translation = with_an_end(plan.translation, operation, fields, model)
    if translation is plan.translation:
        return plan
    again = None if plan.again is None else _with_an_end(plan.again, fields)
    return msgspec.structs.replace(plan, translation=translation, again=again)


def _planned(
    operation: Operation,
    read: ParsedRequest,
    found: ServingRunner,
    request: Request,
    infill: Infill | None,
) -> Plan:
    """Plan a request in the engine's terms for the runner that serves it."""
    fields, reference = read.fields, read.reference
    if infill is not None:
        read = infill.request
    streams, prompts = fields.stream is True, read.prompts
    assembles = not streams and _assembles(operation, fields, found)
    read = completed_request(operation, read)
    warnings: tuple[str, ...] = ()
    tools = None
    if has_schemas(fields):
        read, warnings = with_known_schemas(read)
        tools = tool_plan(operation.name, read) if found.backend.streams_to_cancel else None
    if tools is not None:  # its response is read as a stream, however short
        assembles = not streams
    translation = translation_of(operation, fields, prompts, assembles=assembles)
    plan = Plan(
        operation=operation,
        key=found.key,
        model=found.id,
        model_ref=reference,
        body=engine_body(read, found.rules, assembles=assembles),
        streams=streams,
        assembles=assembles,
        prompts=prompts,
        preload_only=request.preload_only,
        origin=request.origin,
        affinity=affinity_of(read.fields, request.session) if found.spreads else (),
        session=request.session,
        known=found.known,
        token_time=found.token_time,
        translation=infill.translation if infill else translation,
        warnings=warnings,
    )
    if tools is not None:
        body_of = partial(engine_body, rules=found.rules, assembles=assembles)
        plan = _with_tools(plan, tools, body_of)
    return plan if plan.translation is PASSED and not streams else _with_an_end(plan, fields)


def _plain_request(
    operation: Operation, read: ParsedRequest, found: ServingRunner, request: Request
) -> PlainRequest | None:
    """What the plan for a request depends on beside the runner; None where that is more."""
    if not read.is_plain or found.rules is not None or found.spreads:
        return None
    if request.session or operation.name in JUDGED_ALWAYS:
        return None
    streams = read.fields.stream is True
    assembles = not streams and operation.assembles and found.backend.streams_to_cancel
    return streams, assembles, request.preload_only, request.origin


def _same_plan(plan: Plan, read: ParsedRequest) -> Plan:
    """The plan for another plain request: it differs in nothing but the body."""
    body = engine_body(read, None, assembles=plan.assembles)
    translation = Assembled(plan.prompts, plan.model_ref) if plan.assembles else PASSED
    return msgspec.structs.replace(plan, body=body, translation=translation)


def _assembles(operation: Operation, fields: Inference, found: ServingRunner) -> bool:
    """Whether a whole response is put together from a stream: only then a client that leaves is
    noticed.  For one token a stream would stop no sooner, and a quick engine has answered a short
    chat before that; log probabilities are mended in what is put together (`logprobs`).
    """
    if not (operation.assembles and found.backend.streams_to_cancel):
        return False
    if found.rules is not None or operation.name != "chat/completions":
        return True
    if half_characters_wanted(fields) is not None:
        return True
    limit, time = fields.token_limit(), found.token_time
    if can_be_unparsed(fields):  # what it could not read is not in its error
        return True
    if limit == 1:
        return False
    if limit is None or time is None or has_schemas(fields):
        return True
    return not time.is_short(limit)
