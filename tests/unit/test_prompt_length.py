"""Texts that no context holds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError, ContextExceeded, PayloadTooLarge
from runnerd.relay.least_tokens import TOKEN_BYTES
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.prompt_length import LongestPrompt, as_engines_say

CONTEXT = 2
LONG = "x" * (TOKEN_BYTES * (CONTEXT + 1))
FITS = LONG[:-1]
PROMPT = LongestPrompt(CONTEXT, 2**20)


def asked(**members: Any) -> ParsedRequest:
    """A request with such members."""
    return parse(msgspec.json.encode({"model": "m", **members}))


def said(*contents: Any) -> list[dict[str, Any]]:
    """A conversation."""
    return [{"role": "user", "content": each} for each in contents]


def called(name: str, arguments: str) -> dict[str, Any]:
    """A call of a tool."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    "members",
    [
        {"prompt": LONG},
        {"prompt": ["a", LONG]},
        {"prompt": [1, 2, LONG]},
        {"prompt": {"prompt_string": LONG, "multimodal_data": []}},
        {"prompt": [{"prompt_string": LONG}]},
        {"prompt": "a", "suffix": LONG},
        {"input_prefix": LONG, "input_suffix": "a"},
        {"input_suffix": "a", "input_extra": [{"filename": "f", "text": LONG}]},
        {"input": LONG},
        {"input": [LONG, "a"]},
        {"input": said(LONG)},
        {"input": said([{"type": "input_text", "text": LONG}])},
        {"content": LONG},
        {"instructions": LONG, "input": "a"},
        {"query": "a", "documents": ["a", LONG]},
        {"query": "a", "texts": ["a", LONG]},
        {"query": LONG, "texts": ["a"]},
        {"query": "a", "documents": [{"text": LONG}]},
        {"messages": said(LONG)},
        {"system": LONG, "messages": said("a")},
        {"system": [{"type": "text", "text": LONG[:200]}], "messages": said(LONG[200:])},
        {"messages": said(LONG[:200], LONG[200:])},
        {"messages": said("a", [{"type": "text", "text": LONG}])},
        {"messages": said([{"type": "text", "text": LONG[:200]}], LONG[200:])},
        {"messages": [{"role": LONG, "content": "a"}]},
        {"messages": [{"role": "user", "name": LONG, "content": "a"}]},
        {"messages": [{"role": "assistant", "reasoning_content": LONG}]},
        {"messages": [{"role": "tool", "tool_call_id": LONG, "content": "a"}]},
        {"messages": [{"role": "assistant", "tool_calls": [called("f", LONG)]}]},
        {"messages": [{"role": "assistant", "tool_calls": [called(LONG, "{}")]}]},
        {"messages": [{"role": "assistant", "tool_calls": [called("f", "{}")] * 30}]},
        {"messages": said([{"type": "tool_use", "name": "f", "input": {"x": [LONG]}}])},
        {"messages": said([{"type": "thinking", "thinking": LONG}])},
        {"messages": said([{"type": "tool_result", "content": LONG}])},
        {"messages": said([{"type": "tool_result", "content": [{"text": LONG}]}])},
        {"messages": said("a"), "tools": [{"function": {"name": "a", "description": LONG}}]},
        {"prompt": "<|im_start|>" * 10},
        {"prompt": "a b" * 9},
        {"prompt": "a\n" * 10},
        {"input": [{"type": "function_call", "arguments": LONG}]},
        {"input": [{"type": "function_call_output", "output": LONG}]},
        {"input": [{"type": "function_call_output", "output": [{"text": LONG}]}]},
        {"input": [{"type": "reasoning", "summary": [{"text": LONG}]}]},
        {"input_suffix": "a", "input_extra": [{"filename": LONG, "text": "a"}]},
        {"prompt": "é" * (len(LONG) // 2 + 2)},
    ],
)
def test_too_long(members: dict[str, Any]) -> None:
    """Wherever the text stands; the error says what to do."""
    operation = "infill" if "input_suffix" in members else "embeddings"
    with pytest.raises(
        ContextExceeded, match=r"maximum context length is 2 tokens.*--context-size"
    ):
        PROMPT.check(asked(**members), operation)


@pytest.mark.parametrize(
    "members",
    [
        {"prompt": FITS},
        {"content": LONG},  # to be tokenized
        {"prompt": [FITS, FITS]},  # each is a prompt of its own
        {"prompt": [1] * 10_000},
        {"input": [FITS, FITS]},
        {"documents": [FITS, FITS]},
        {"prompt": {"prompt_string": "a", "multimodal_data": [LONG]}},
        {"messages": said(FITS[: -len("user")])},
        {"messages": said([{"type": "image_url", "image_url": {"url": "data:image/png," + LONG}}])},
        {"messages": [{"role": "user", "content": "a", "metadata": LONG}]},
        {"messages": said([{"type": "tool_result", "content": [{"source": {"data": LONG}}]}])},
        {"input": [{"output": [{"type": "input_image", "image_url": LONG}]}]},
        {"messages": LONG},  # refused elsewhere
        {"messages": [LONG]},
        {"messages": said(None)},
        {"messages": said({"a": LONG})},
        {"messages": said("a"), "tools": [{"type": "function", "function": {"name": "a"}}]},
    ],
)
def test_may_fit(members: dict[str, Any]) -> None:
    """What is no text, or may not get into the prompt, does not count."""
    PROMPT.check(asked(**members))


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("tokenize", {"content": "a b " * 20_000}),
        ("messages/count_tokens", {"messages": said("a b " * 20_000)}),
        ("apply-template", {"messages": said("a b " * 20_000)}),
    ],
)
def test_what_is_only_counted(operation: str, members: dict[str, Any]) -> None:
    """May be longer than the context, which is what who asks wants to know; it has an end, too."""
    PROMPT.check(asked(**members), operation)
    longer = {"messages": said("a b " * 30_000), "content": "a b " * 30_000}
    with pytest.raises(ContextExceeded):
        PROMPT.check(asked(**longer), operation)


def test_an_unknown_context() -> None:
    """Holds what any prompt may be, and no context holds more."""
    for context in (0, 2**20):
        longest = LongestPrompt(context, len(LONG))
        longest.check(asked(prompt=LONG))
        with pytest.raises(PayloadTooLarge, match=r"more than 384 bytes.*text_bytes"):
            longest.check(asked(prompt=LONG + "x"))


def test_how_long_it_is() -> None:
    """Who asks for less learns how much too long the text is, in the engine's terms."""
    tokens = PROMPT.tokens_beyond(asked(prompt=LONG * 10))
    assert tokens == len(LONG) * 10 // TOKEN_BYTES
    error = as_engines_say(tokens, CONTEXT)
    assert error["type"] == "exceed_context_size_error"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (tokens, CONTEXT)


@pytest.mark.parametrize("member", [b"messages", b"input"])
def test_names_that_are_no_text(member: bytes) -> None:
    """Are the client's fault, and told as such."""
    said = b'{"\xff":1,"role":"user","content":"%b"}' % LONG.encode()
    with pytest.raises(ClientError, match="not valid JSON") as caught:
        PROMPT.check(parse(b'{"model":"m","%b":[%b]}' % (member, said)))
    assert not isinstance(caught.value, ContextExceeded)
