"""Anthropic's requests as the dialect reads them, whatever is in them."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access import NOBODY
from runnerd.api.anthropic.dialect import AnthropicDialect
from runnerd.errors import ClientError

COVERS = ("runnerd.api.anthropic.dialect",)

ANY_MODEL = cast(Any, None)  # which one makes no difference
_WORDS = st.sampled_from(
    [
        *("type", "name", "text", "content", "source", "data", "title", "tool_use_id", "input"),
        *("document", "search_result", "tool_result", "tool_use", "thinking", "image", "base64"),
        *("schema", "json_schema", "format", "enabled", "disabled", "id", "none", "tool", "any"),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=10,
)
_BLOCKS = st.lists(
    st.builds(
        lambda kind, more: {**more, "type": kind},
        _WORDS,
        st.dictionaries(_WORDS, _JSON, max_size=4),
    ),
    max_size=3,
)
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": _BLOCKS | _JSON}
    ),
    min_size=1,
    max_size=3,
)
_CHOICES = st.fixed_dictionaries({"type": _WORDS}, optional={"name": _JSON})
_FORMATS = st.fixed_dictionaries({"type": _WORDS, "schema": _JSON | st.just({"type": "object"})})
_BESIDE: Any = st.fixed_dictionaries(
    {},
    optional={
        **{"system": _JSON | _BLOCKS, "tools": _JSON | _BLOCKS, "tool_choice": _CHOICES | _JSON},
        **{"thinking": _CHOICES | _JSON, "chat_template_kwargs": _JSON, "stop_sequences": _JSON},
        **{"output_config": st.fixed_dictionaries({"format": _FORMATS}), "stream": st.booleans()},
    },
)


@given(messages=_MESSAGES, beside=_BESIDE, counts=st.booleans())
def test_any_request(messages: list[Any], beside: dict[str, Any], counts: bool) -> None:
    """It is read or refused, never anything else."""
    body = msgspec.json.encode({"model": "m", "messages": messages, **beside})
    try:
        translated = AnthropicDialect(counts).read(body, NOBODY).translated(ANY_MODEL)
    except ClientError:
        return
    sent = msgspec.json.decode(translated.body)
    assert (sent["model"], isinstance(sent["messages"], list)) == ("m", True)


@pytest.mark.parametrize("content", [{"a": 1}, [], "", None])
def test_what_a_search_found_may_be_nothing(content: Any) -> None:
    """Its title is told all the same."""
    found = {"type": "search_result", "source": "a/b", "title": "T", "content": content}
    body = {"model": "m", "messages": [{"role": "user", "content": [found]}]}
    sent = msgspec.json.decode(
        AnthropicDialect().read(msgspec.json.encode(body), NOBODY).translated(ANY_MODEL).body
    )
    [block] = sent["messages"][0]["content"]
    assert block["type"] == "text"
    assert block["text"].split() == ["T", "a/b"]
