"""Calls that a model must make: asked for as a response after a schema, which engines enforce.

What llama-server does for "required" depends on the model's template, and is often nothing: the
model talks until its limit.  A schema of a response it enforces for every model.  So the model is
shown its tools as ever, and its response is held to a call's name and arguments; what comes is
turned back into a call (`response_adapters/forced_call`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.relay import aside
from runnerd.relay.body import ABSENT
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.request_rewrites.schemas import NODES, of_arguments
from runnerd.relay.request_rewrites.tool_functions import function_of

_REQUIRED = msgspec.Raw(b'"required"')
_NONE = msgspec.Raw(b'"none"')
_FORMATS = ("json_object", "json_schema")


def with_forced_call(request: ParsedRequest) -> ParsedRequest | None:
    """A request, a chat or a response, whose response has to be a call; None where none has to."""
    fields = request.fields
    if fields.tool_choice != _REQUIRED or fields.tools in ABSENT:
        return None
    bound = _bound("tools", bytes(fields.tools))
    if bound is None:
        return None  # the engine says what is wrong with the tools
    members = {name: raw for name, raw in request.members.items() if name != "json_schema"}
    return request.replaced({**members, "tool_choice": _NONE, "response_format": bound})


def has_form(request: ParsedRequest) -> bool:
    """Whether the text of a response has to follow a schema, or to be JSON."""
    fields = request.fields
    if fields.json_schema not in ABSENT:
        return True
    if fields.response_format in ABSENT:
        return False
    form = msgspec.json.decode(fields.response_format)
    return isinstance(form, dict) and form.get("type") in _FORMATS


def calls_alone(request: ParsedRequest) -> ParsedRequest:
    """The request without the form of its text: the model may call as it has learned to."""
    members = dict(request.members)
    for name in ("response_format", "json_schema"):
        members.pop(name, None)
    return request.replaced(members)


def text_alone(request: ParsedRequest) -> ParsedRequest:
    """The request for a text in its form, from a model that sees its tools and calls none."""
    return request.replaced({**request.members, "tool_choice": _NONE})


@aside.remembered
def _bound(name: str, tools: bytes) -> msgspec.Raw | None:
    """The format of a response that is a call of one of some tools."""
    schema = _call_schema(msgspec.json.decode(tools))
    if schema is None:
        return None
    form = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
    return msgspec.Raw(msgspec.json.encode(form))


def _call_schema(tools: Any) -> dict[str, Any] | None:
    """The schema of one call of any of the tools; None where these are not what they should be."""
    calls: list[dict[str, Any]] = []
    parameters: dict[str, Any] = {}
    left = NODES
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        function = function_of(tool)
        if function is None or not isinstance(function.get("name"), str):
            return None
        said = function.get("parameters")
        at = f"#/$defs/{index}"
        made = of_arguments({"type": "object"} if said is None else said, at, left)
        left -= made.cost
        parameters[str(index)] = made.schema
        properties = {"name": {"const": function["name"]}, "arguments": {"$ref": at}}
        call = {"type": "object", "properties": properties, "required": ["name", "arguments"]}
        calls.append(call)
    if not calls:
        return None
    return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), "$defs": parameters}
