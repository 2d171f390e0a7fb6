"""Holds a JSON body against the limits that protect engines.

One small request can crash an engine (a deeply nested grammar or schema) or starve it (thousands of
prompts): "What the relay keeps from the engine" in docs/architecture.md has the list.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay import aside
from runnerd.relay.body import (
    UNDECODABLE,
    UNSAID,
    Body,
    Inference,
    decode_any,
    undecodable,
)
from runnerd.relay.body_scan import (
    check_depth,
    check_weight,
    count_prompts,
    is_heavy,
    too_deep,
)
from runnerd.relay.costly_fields import check_costly_fields
from runnerd.relay.grammar_cost import check_grammar, check_schema
from runnerd.relay.media_check import check_media, may_have_media
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.request_rewrites.plain_images import with_plain_images

_ENTRY = 2  # bytes of the shortest entry of an array, with its comma
_MESSAGE = 13  # bytes of the shortest message: {"role":"x"}, with its comma
_GRAMMAR_DEPTH = 64
_ENUM_ENTRIES = 1000

_BRACKETS = re.compile(r"[()\[\]{}]")

_CHOICES = (b"anyOf", b"oneOf", b"$ref", b"\\u")

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def inspect(body: Body, limits: Limits, *, weighed: bool = False) -> ParsedRequest:
    """Decode a body as far as the relay needs it and hold it against the limits.

    `weighed`: its depth and its weight have been checked.  Raises errors.ClientError (400) or
    errors.PayloadTooLarge (413), naming the field.
    """
    if not weighed and is_heavy(body):
        check_weight(body, limits.json_depth)
    try:
        parsed = parse(body)
    except RecursionError as error:
        raise too_deep(limits.json_depth) from error
    except UNDECODABLE as error:
        raise undecodable(error) from error
    inference = parsed.fields
    # A flat body is told by a search, which is much cheaper than counting.
    nested = body.find(b"{", 1) >= 0 or b"[" in body
    if nested and body.count(b"{") + body.count(b"[") > limits.json_depth:
        check_depth(body, limits.json_depth)
    if not inference.model_name:
        raise ClientError("model is required", param="model")
    if not parsed.is_plain or len(body) > min(_ENTRY * limits.inputs, _MESSAGE * limits.messages):
        _check_fields(parsed, limits)
    if may_have_media(body):
        check_media(body, limits)
        return with_plain_images(parsed)
    return parsed


def _check_fields(parsed: ParsedRequest, limits: Limits) -> None:
    """Hold the fields that are there against the limits."""
    inference, size = parsed.fields, len(parsed.body)
    if not parsed.is_plain:
        _check_seldom(inference, limits)
        check_costly_fields(inference)
    if inference.prompt is not UNSAID and size > _ENTRY * limits.prompts:
        _check_count("prompt", parsed.prompts, limits.prompts)
    if inference.messages is not UNSAID and size > _MESSAGE * limits.messages:
        _check_count("messages", count_prompts(inference.messages), limits.messages)
    if inference.input is not UNSAID and size > _ENTRY * limits.inputs:
        _check_count("input", count_prompts(inference.input), limits.inputs)


def _check_seldom(inference: Inference, limits: Limits) -> None:
    """Check the fields that most requests have none of, at the cost of one comparison for those."""
    seldom = (
        inference.id_slot,
        inference.n_discard,
        inference.chat_parser,
        inference.grammar,
        inference.json_schema,
        inference.response_format,
        inference.chat_template_kwargs,
        inference.tools,
        inference.documents,
    )
    if seldom == _NO_SELDOM:
        return
    for name, raw in (
        ("id_slot", inference.id_slot),
        ("n_discard", inference.n_discard),
        ("chat_parser", inference.chat_parser),  # one of somebody else's may never end
    ):
        if raw is not UNSAID and bytes(raw) != b"null":
            raise ClientError(f"{name} is the engine's own business and cannot be set", param=name)
    for name, raw in (
        ("grammar", inference.grammar),
        ("json_schema", inference.json_schema),
        ("response_format", inference.response_format),
        ("chat_template_kwargs", inference.chat_template_kwargs),
    ):
        if raw is not UNSAID:
            _check_schema(name, bytes(raw), limits.schema_bytes)
    if inference.tools is not UNSAID:
        _check_tools(bytes(inference.tools), limits)
    if inference.documents is not UNSAID:
        _check_count("documents", count_prompts(inference.documents), limits.inputs)


_NO_SELDOM = (UNSAID,) * 9


def _check_schema(name: str, raw: bytes, limit: int) -> None:
    if len(raw) > limit:
        raise PayloadTooLarge(f"{name} is larger than {limit} bytes", param=name)
    _check_unfolding(name, raw)


def _check_tools(raw: bytes, limits: Limits) -> None:
    limit = limits.schema_bytes
    if len(raw) > 16 * limit:
        raise PayloadTooLarge(f"tools are larger than {16 * limit} bytes", param="tools")
    if not raw.startswith(b"["):
        return
    if len(raw) > min(limit, _ENTRY * limits.tools):
        tools = _decode_list(raw)
        _check_count("tools", len(tools), limits.tools)
        if any(len(memoryview(tool)) > limit for tool in tools):
            raise PayloadTooLarge(f"tools are larger than {limit} bytes", param="tools")
    _check_unfolding("tools", raw)


def _check_unfolding(name: str, raw: bytes) -> None:
    has_enums = b"enum" in raw and raw.count(b",") >= _ENUM_ENTRIES
    if not (has_enums or name == "grammar" or any(choice in raw for choice in _CHOICES)):
        return
    if (why := _refused(name, raw)) is not None:
        raise ClientError(why, param=name)


@aside.remembered
def _refused(name: str, raw: bytes) -> str | None:
    """Why a grammar, a schema or tools are refused, if they are."""
    try:
        for each in _decode_list(raw) if name == "tools" else (raw,):
            _check_document(name, decode_any(each))
    except ClientError as error:
        return error.message
    except UNDECODABLE as error:
        raise undecodable(error) from error
    return None


def _check_document(name: str, document: Any) -> None:
    if name == "grammar" and isinstance(document, str):
        _check_grammar(document)
        check_grammar(document)
    else:
        _check_enums(name, document)
        check_schema(name, document)


def _check_grammar(text: str) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(text):
        if bracket in "([{":
            depth += 1
            if depth > _GRAMMAR_DEPTH:
                raise ClientError(
                    f"the grammar is nested deeper than {_GRAMMAR_DEPTH} levels", param="grammar"
                )
        else:
            depth = max(0, depth - 1)


def _check_enums(name: str, document: Any) -> None:
    todo = [document]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            entries = value.get("enum")
            if isinstance(entries, list) and len(entries) > _ENUM_ENTRIES:
                raise ClientError(f"an enum has more than {_ENUM_ENTRIES} entries", param=name)
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)


def _check_count(name: str, count: int, limit: int) -> None:
    if count > limit:
        raise ClientError(f"{name} has more than {limit} entries", param=name)
