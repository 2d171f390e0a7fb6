"""The schemas of a request, of its tools and of its response, in words that the engine knows.

They are the same in every request of a conversation, so what was made of them is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from runnerd.errors import ClientError
from runnerd.relay import aside
from runnerd.relay.body import ABSENT, UNDECODABLE, UNSAID, Inference, undecodable
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.request_rewrites.merged_alternatives import merged_alternatives
from runnerd.relay.request_rewrites.reference_rules import (
    Referring,
    rule_name,
    tell_rules_apart,
)
from runnerd.relay.request_rewrites.schemas import NODES, Widened, of_arguments, widened
from runnerd.relay.request_rewrites.told_apart import TooMany, told_apart
from runnerd.relay.request_rewrites.tool_functions import function_of, name_of
from runnerd.relay.schema_growth import grows_too_far

_AT_ONCE = 256  # schemas in one: some milliseconds
_LEFT_OUT = ("pattern ", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")
_ALIKE = "alternatives that begin alike"
_MOST_TOLD = 8  # of what is not enforced
_PARAMETERS = ("parameters", "input_schema")  # input_schema: Anthropic's


class Known(NamedTuple):
    """A member as the engine takes it, and what is told of it; None: as the client wrote it.
    `grows`: too far for any engine.
    """

    raw: msgspec.Raw | None
    warnings: tuple[str, ...] = ()
    grows: bool = False


_NO_SCHEMAS = (UNSAID, UNSAID, UNSAID)


def has_schemas(fields: Inference) -> bool:
    """Whether there is anything to look at, which most requests have not."""
    return (fields.tools, fields.response_format, fields.json_schema) != _NO_SCHEMAS


def with_known_schemas(request: ParsedRequest) -> tuple[ParsedRequest, tuple[str, ...]]:
    """A request with schemas that the engine knows, and what its client is warned of.

    Raises errors.ClientError.
    """
    fields = request.fields
    found = {
        name: _known(name, raw)
        for name, raw in (
            ("tools", fields.tools),
            ("response_format", fields.response_format),
            ("json_schema", fields.json_schema),
        )
        if raw not in ABSENT
    }
    changed = {name: known.raw for name, known in found.items() if known.raw is not None}
    warnings = tuple(warning for known in found.values() for warning in known.warnings)
    if not changed:
        return request, warnings
    return request.replaced({**request.members, **changed}, **changed), warnings


def _known(name: str, raw: msgspec.Raw) -> Known:
    text = bytes(raw)
    try:
        known = _made(name, text)
    except UNDECODABLE as error:
        raise undecodable(error) from error
    if known.grows:
        raise ClientError(
            f"{name} unfolds too far: it has alternatives within alternatives that begin alike, so"
            " the ways in which a response can go on grow with each level; put the property that"
            " tells them apart in front of the others",
            param=name,
        )
    return known


@aside.remembered
def _made(name: str, text: bytes) -> Known:
    value = msgspec.json.decode(text)
    if name == "tools":
        return _tools(value)
    if name == "json_schema":
        return _schema(name, value, value)
    return _format(value)


def _format(value: Any) -> Known:
    inner = value.get("json_schema") if isinstance(value, dict) else None
    holder = inner if isinstance(inner, dict) else value
    if not isinstance(holder, dict) or holder.get("schema") is None:
        return Known(None)
    made = _schema("response_format", value, holder["schema"])
    if made.raw is None:
        return made
    changed: Any = {**holder, "schema": made.raw}
    if holder is inner:
        changed = {**value, "json_schema": changed}
    return made._replace(raw=msgspec.Raw(msgspec.json.encode(changed)))


def _schema(name: str, value: Any, schema: Any) -> Known:
    if isinstance(value, str) or (isinstance(schema, dict) and not _has_type(schema)):
        return Known(None)  # no schema; the engine says so
    most = aside.at_once(NODES, _AT_ONCE)
    made = widened(schema, most=most)
    aside.check_spent(made.cost, most)
    warnings = _told(f"{name}: widened", made.loosened)
    warnings += _told(f"{name}: not enforced", made.unenforced)
    followed = _followed(made.schema)
    warnings += _told(f"{name}: {followed.changed}", [_ALIKE] if followed.changed else [])
    return Known(_unless_same(followed.schema, schema), warnings, followed.grows)


class _Followed(NamedTuple):
    """A schema in a form that an engine can follow, how it was `changed` for that, in a word, and
    whether there is no such form.
    """

    schema: dict[str, Any]
    changed: str = ""
    grows: bool = False


def _followed(schema: dict[str, Any]) -> _Followed:
    if not grows_too_far(schema):
        return _Followed(schema)
    with suppress(TooMany):
        apart = told_apart(schema)
        if not grows_too_far(apart):
            return _Followed(apart, "reordered")
        merged = merged_alternatives(apart)
        if not grows_too_far(merged.schema):
            return _Followed(merged.schema, "widened" if merged.loosened else "reordered")
    return _Followed(schema, grows=True)


def _check_names(tools: list[Any]) -> None:
    """Refuse two tools that the engine would take for one: it calls a tool's rule after its name,
    with `-` for all but letters and digits, and the second would be called by the first's.
    """
    known: dict[str, str] = {}
    for name in map(name_of, tools):
        other = known.setdefault(rule_name(name), name)
        if other != name:
            raise ClientError(
                f"the tools {other[:100]!r} and {name[:100]!r} are one to the engine, which reads"
                " all but letters and digits as `-`; rename one of them",
                param="tools",
            )


def _has_type(schema: dict[str, Any]) -> bool:
    said = schema.get("type")
    return said is None or isinstance(said, str | list)


def _tools(value: Any) -> Known:
    if not isinstance(value, list):
        return Known(None)
    _check_names(value)
    left, changed = aside.at_once(NODES, _AT_ONCE), list(value)
    widened_ones: list[tuple[int, str, Widened]] = []
    loosened: dict[str, None] = {}
    reordered: dict[str, None] = {}
    grows = False
    for index, tool in enumerate(value):
        function = function_of(tool) or {}
        named = next((name for name in _PARAMETERS if function.get(name) is not None), None)
        if named is None:
            continue
        made = of_arguments(function[named], most=left)
        left -= made.cost
        aside.check_spent(-left, 0)
        widened_ones.append((index, named, made))
    tell_rules_apart([Referring(made.schema, made.refs) for _, _, made in widened_ones])
    for index, named, made in widened_ones:
        tool, function = value[index], function_of(value[index]) or {}
        followed = _followed(made.schema)
        grows = grows or followed.grows
        said = {**function, named: followed.schema}
        changed[index] = said if function is tool else {**tool, "function": said}
        left_out = [what for what in made.unenforced if what.startswith(_LEFT_OUT)]
        told = [*made.loosened, *left_out]
        told += [_ALIKE] if followed.changed == "widened" else []
        name = str(function.get("name"))[:64]
        loosened |= {f"{name} ({what})": None for what in told}
        reordered |= {name: None} if followed.changed == "reordered" else {}
    warnings = _told("tools: widened", loosened) + _told("tools: reordered", reordered)
    return Known(_unless_same(changed, value), warnings, grows)


def _unless_same(changed: Any, value: Any) -> msgspec.Raw | None:
    """A value as JSON; None where it is still what the client wrote (1 is not 1.0 there)."""
    text = msgspec.json.encode(changed)
    return None if text == msgspec.json.encode(value) else msgspec.Raw(text)


def _told(what: str, found: Iterable[str]) -> tuple[str, ...]:
    names = list(found)
    if not names:
        return ()
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return (f"{what}: {', '.join(names[:_MOST_TOLD])}{more}",)
