"""A plan, once it is known what serves the request: what the engine is asked, and what is made of
its response.  Nothing in here looks at what belongs to the event loop, so any thread may do it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from runnerd.backends.configuration import BackendMode
from runnerd.errors import ClientError, NotSupported
from runnerd.models.model import Model
from runnerd.relay.affinity import affinity_of
from runnerd.relay.body import Inference, streamed
from runnerd.relay.dialect import Retry, TranslatedRequest
from runnerd.relay.engine import Buffer
from runnerd.relay.engine_bodies import (
    completed_request,
    engine_body,
    retry_within_rules,
    translated_body,
)
from runnerd.relay.messages import Request
from runnerd.relay.operations import Operation
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.plan import Plan
from runnerd.relay.request_rewrites.known_schemas import has_schemas, with_known_schemas
from runnerd.relay.request_validation import JUDGED_ALWAYS
from runnerd.relay.response_adapters.infill import Infill
from runnerd.relay.response_adapters.logprobs import half_characters_wanted
from runnerd.relay.response_adapters.select import translation_of
from runnerd.relay.response_adapters.unparsed_end import can_be_unparsed, with_an_end
from runnerd.relay.routes import Route
from runnerd.relay.serving_runners import PlainRequest, ServingRunner
from runnerd.relay.token_time import TokenTime
from runnerd.relay.tool_plans import ToolPlan, tool_plan
from runnerd.relay.translations import PASSED, Assembled
from runnerd.scheduler import RunnerKey

_CHAT = "chat/completions"
_BRIEF = 4096  # bytes of a request that may be a quick one


class Translated(NamedTuple):
    """A request of another API, by the model that it names, in the engine's terms."""

    reference: str
    request: TranslatedRequest
    asked: ParsedRequest
    warnings: tuple[str, ...]


class Served(NamedTuple):
    """What serves a request.  `key` is that of a runner with the context that is asked for,
    `context` its tokens, 0 where nobody knows.
    """

    found: ServingRunner
    key: RunnerKey
    context: int = 0
    warnings: tuple[str, ...] = ()


def plan_translated(read: Translated, served: Served, request: Request, route: Route) -> Plan:
    """Plan a request of another API, from any thread."""
    assert route.dialect is not None
    reference, translated, asked, told = read
    operation, found = translated.operation, served.found
    tools = tool_plan(operation.name, asked) if found.backend.streams_to_cancel else None
    if translated.limit is not None and found.rules is not None:
        translated.limit.tokens = found.rules.limit(translated.limit.tokens)
    if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
        raise NotSupported(remedy)
    plan = Plan(
        operation=operation,
        key=served.key,
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
        warnings=translated.warnings + told + served.warnings,
        before_end=translated.before_end,
        long=_is_long(operation, asked, found.token_time),
    )
    if tools is not None:
        body_of = partial(translated_body, translated, rules=found.rules)
        second = retry_within_rules(translated, found.rules, second=True)
        plan = _with_tools(plan, tools, body_of, second)
    return _with_an_end(plan, asked.fields)


def check_needs(needs: tuple[str, ...], model: Model, reference: str) -> None:
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


def plan_request(
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
        long=_is_long(operation, read, found.token_time),
    )
    if tools is not None:
        body_of = partial(engine_body, rules=found.rules, assembles=assembles)
        plan = _with_tools(plan, tools, body_of)
    return plan if plan.translation is PASSED and not streams else _with_an_end(plan, fields)


def plain_request(
    operation: Operation, read: ParsedRequest, found: ServingRunner, request: Request
) -> PlainRequest | None:
    """What the plan for a request depends on beside the runner; None where that is more."""
    if not read.is_plain or found.rules is not None or found.spreads:
        return None
    if request.session or operation.name in JUDGED_ALWAYS:
        return None
    streams = read.fields.stream is True
    assembles = not streams and operation.assembles and found.backend.streams_to_cancel
    if assembles and operation.name == _CHAT:  # as `_assembles` of one that is plain
        assembles = not _is_short(read.fields, found.token_time)
    return streams, assembles, request.preload_only, request.origin


def same_plan(plan: Plan, read: ParsedRequest, priority: int = 0) -> Plan:
    """The plan for another plain request: it differs in nothing but the body, how long it may take,
    and the priority of who asks.
    """
    if not plan.assembles:
        long = _is_long(plan.operation, read, plan.token_time)
        return msgspec.structs.replace(plan, body=(read.body,), priority=priority, long=long)
    # A plain chat is put together where it is not short (`plain_request`): that was asked already.
    long = plan.operation.name == _CHAT or _is_long(plan.operation, read, plan.token_time)
    return msgspec.structs.replace(
        plan,
        body=streamed(read.body),
        translation=Assembled(plan.prompts, plan.model_ref),
        priority=priority,
        long=long,
    )


def _is_long(operation: Operation, read: ParsedRequest, time: TokenTime | None) -> bool:
    """Whether an engine may take long for a request, whatever it was asked before."""
    if not operation.computes:
        return False
    if len(read.body) > _BRIEF:
        return True
    if operation.mode is not BackendMode.COMPLETION:
        return False
    return read.prompts > 1 or not _is_short(read.fields, time)


def _assembles(operation: Operation, fields: Inference, found: ServingRunner) -> bool:
    """Whether a whole response is put together from a stream: only then a client that leaves is
    noticed.  For one token a stream would stop no sooner, and a quick engine has answered a short
    chat before that; log probabilities are mended in what is put together (`logprobs`).
    """
    if not (operation.assembles and found.backend.streams_to_cancel):
        return False
    if found.rules is not None or operation.name != _CHAT:
        return True
    if half_characters_wanted(fields) is not None:
        return True
    if can_be_unparsed(fields):  # what it could not read is not in its error
        return True
    return not _is_short(fields, found.token_time)


def _is_short(fields: Inference, time: TokenTime | None) -> bool:
    """Whether nobody could leave before the response is complete."""
    limit = fields.token_limit()
    if limit is None or limit == 1:
        return limit == 1
    return time is not None and not has_schemas(fields) and time.is_short(limit)
