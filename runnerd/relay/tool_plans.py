"""How tools go with what an engine enforces: calls that must be made, and texts after a schema.

Both are asked for in other words than the client's (`request_rewrites/forced_calls`), and what the
engine responds is turned back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import ABSENT, ALONE
from runnerd.relay.dialect import Translation
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.request_rewrites.forced_calls import (
    calls_alone,
    has_form,
    text_alone,
    with_forced_call,
)
from runnerd.relay.response_adapters.calls_or_text import CallsOrTextOfChat, CallsOrTextOfResponse
from runnerd.relay.response_adapters.forced_call import ForcedCallOfChat, ForcedCallOfResponse

_NO_TOOLS = (*ABSENT, msgspec.Raw(b"[]"))
_NONE = msgspec.Raw(b'"none"')

Wrap = Callable[[Translation], Translation]

_ADAPTERS: dict[str, tuple[Wrap, Wrap]] = {
    "chat/completions": (ForcedCallOfChat, CallsOrTextOfChat),
    "responses": (ForcedCallOfResponse, CallsOrTextOfResponse),
}


class ToolPlan(NamedTuple):
    """What is asked instead, and what its response goes through; `again`: what is asked if no call
    comes.
    """

    request: ParsedRequest
    wrap: Wrap
    again: ParsedRequest | None = None


def tool_plan(operation: str, request: ParsedRequest) -> ToolPlan | None:
    """How a request with tools is asked; None where the engine understands it as it is.

    Raises errors.ClientError.
    """
    if operation not in _ADAPTERS or request.fields.tools in _NO_TOOLS:
        return None
    forced, either = _ADAPTERS[operation]
    if (asked := with_forced_call(request)) is not None:
        return ToolPlan(asked, forced)
    if not has_form(request) or request.fields.tool_choice == _NONE:
        return None
    if request.fields.n not in ALONE:
        raise ClientError("n: tools together with a format give one response at a time", param="n")
    return ToolPlan(calls_alone(request), either, text_alone(request))
