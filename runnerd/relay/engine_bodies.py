"""The bodies that engines are asked with, of requests as clients have made them."""

from __future__ import annotations

from typing import Any

from runnerd.relay.body import STREAMED_END, streamed
from runnerd.relay.dialect import Retry, TranslatedRequest
from runnerd.relay.engine import Buffer
from runnerd.relay.operations import Operation
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.request_rewrites.parameters import ParameterRules, completed
from runnerd.relay.request_rewrites.stop_words import has_stops, with_said_stops
from runnerd.relay.request_rewrites.tool_choice import with_chosen_tools
from runnerd.relay.response_adapters.logprobs import NO_ALTERNATIVES, with_one_alternative
from runnerd.relay.tool_plans import tool_plan


def completed_request(operation: Operation, request: ParsedRequest) -> ParsedRequest:
    """A request with what it says in the words that the engine has for it."""
    if has_stops(request.fields):
        request = with_said_stops(request)
    if operation.name == "chat/completions":
        return with_chosen_tools(request)
    if operation.name == "completions" and request.fields.logprobs == NO_ALTERNATIVES:
        body = with_one_alternative(request.body)
        return ParsedRequest(body, request.fields, request.reference)
    return request


def engine_body(
    request: ParsedRequest, rules: ParameterRules | None, *, assembles: bool
) -> tuple[Buffer, ...]:
    """The body for the engine: the client's own bytes where nothing is to be changed."""
    if rules is not None:
        return (*rules.applied(request.members), STREAMED_END if assembles else b"}")
    return streamed(request.body) if assembles else (request.body,)


def translated_body(
    translated: TranslatedRequest, request: ParsedRequest, rules: ParameterRules | None
) -> tuple[Buffer, ...]:
    """The body of another API's request with what it leaves unsaid."""
    if rules is not None:
        defaults, prefix = translated.defaults, translated.has_prefix
        return (*rules.applied(request.members, defaults, has_prefix=prefix), b"}")
    if translated.defaults:
        return (completed(request.body, translated.defaults),)
    return (request.body,)


def retry_within_rules(
    translated: TranslatedRequest, rules: ParameterRules | None, *, second: bool = False
) -> Retry | None:
    """What is asked instead of what the engine refused, changed as the first was; or as the
    `second` question to a model with tools.
    """
    retry = translated.retry_with
    if retry is None:
        return None

    def changed(error: dict[str, Any]) -> bytes | None:
        body = retry(error)
        if body is None:
            return None
        request, _ = with_known_schemas(parse(body))
        if (tools := tool_plan(translated.operation.name, request)) is not None:
            request = (tools.again if second else None) or tools.request
        return b"".join(translated_body(translated, request, rules))

    return changed
