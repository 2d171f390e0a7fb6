"""Schemas that clients send and the engine does not know, in tools and for answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
_REFERRED = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"x": {}}}}}


def _holding(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"]}


ODD: list[Any] = [
    True,
    {},
    _REFERRED,
    _holding({"$ref": "#"}),
    _holding({"$ref": "https://example.org/schema.json"}),
    _holding({"$ref": "#/$defs/none"}),
    _holding(True),
    *(_holding({"type": kind}) for kind in ("any", "float", "STRING", ["string", "ANY"], 3)),
    _holding({"type": ["string", "null"]}),
    _holding({"type": "string", "nullable": True}),
    _holding({"const": 5}),
    _holding({"enum": []}),
    _holding({"type": "string", "pattern": "("}),
    _holding({"type": "string", "maxLength": 10**12}),
    _holding({"type": "integer", "minimum": 9, "maximum": 1}),
    {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
]
_KNOWN = (1, 2, 12, 14)  # what the engine takes as it is, or in other words that mean the same


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that knows tools, and one with random weights."""
    root = tmp_path_factory.mktemp("odd")
    tiny.write_completion_model(root / "tiny.gguf")
    with running(root) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        yield daemon


def _bodies(schema: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": "What is your name?"}]
    asked = {"model": "demo-a", "max_tokens": 12}
    function = {"name": "f", "description": "F", "parameters": schema}
    own = {"name": "f", "description": "F", "input_schema": schema}
    chat = {"messages": said, "tools": [{"type": "function", "function": function}]}
    return {
        "/v1/chat/completions": asked | chat,
        "/v1/responses": {
            **{"model": "demo-a", "input": "What is your name?", "max_output_tokens": 12},
            "tools": [{"type": "function", **function}],
        },
        "/v1/messages": asked | {"messages": said, "tools": [own]},
        "/api/chat": {**chat, "model": "demo-a", "stream": False},
    }


_ONE, _OTHER = {"const": "one"}, {"const": "other"}
_PART = {"type": "object", "properties": {"b": {"enum": ["x", "y"]}}, "required": ["b"]}


@pytest.mark.parametrize(
    "defs", [{"a_b": _ONE, "a-b": _OTHER}, {"a": _PART, "a_b": _OTHER}, {"a/b": _ONE, "0": _OTHER}]
)
def test_definitions_that_an_engine_takes_for_each_other(
    daemon: DaemonProcess, defs: dict[str, Any]
) -> None:
    """Whatever they are called, the response follows the one that is meant."""
    refs = [{"$ref": f"#/$defs/{name.replace('/', '~1')}"} for name in defs]
    schema = _holding(refs[0]) | {"$defs": defs}
    schema |= {"properties": {"x": refs[0], "y": refs[1]}, "required": ["x", "y"]}
    body = {"model": "tiny", "prompt": "x", "max_tokens": 200, "json_schema": schema}
    answered = daemon.http.post("/v1/completions", json=body)
    assert answered.status_code == 200, answered.text
    assert '"other"' in re.sub(r"\s", "", answered.json()["choices"][0]["text"])


@pytest.mark.covers("POST /v1/chat/completions", "tools", note="odd schemas are widened")
@pytest.mark.covers("POST /v1/messages", "tools", note="odd schemas are widened")
@pytest.mark.covers("POST /api/chat", "tools", note="odd schemas are widened")
@pytest.mark.parametrize("number", range(len(ODD)))
def test_tools(daemon: DaemonProcess, number: int) -> None:
    """A tool with an odd schema does not end the chat, in any API; what was widened is told."""
    for path, body in _bodies(ODD[number]).items():
        for choice in ("auto", "required") if path == "/v1/chat/completions" else ("auto",):
            asked = body | ({"tool_choice": choice} if choice == "required" else {})
            answer = daemon.http.post(path, json=asked)
            assert answer.status_code == 200, (path, choice, answer.text)
            if number not in _KNOWN and number != 3:
                assert "tools: widened" in answer.headers.get("warning", ""), path


@pytest.mark.parametrize(
    ("pattern", "enforced"),
    [
        (r"^[\w.-]{1,8}@[\w-]{1,8}$", r"[\w.-]{1,8}@[\w-]{1,8}"),
        (r"^\p{Lu}{2}$", "[^a-z]{2}"),
        (r'^"\d{2}\s\D"$', r'"\d{2} \D"'),
        (r"^(?<year>\d{4})-[^\W\d]{1,3}$", None),
        (r"^(a|b)\1$", None),
        (r"^(?=x)y$", None),
    ],
)
def test_patterns(daemon: DaemonProcess, pattern: str, enforced: str | None) -> None:
    """A pattern is enforced, or the client is warned that it is not."""
    schema = _holding({"type": "string", "pattern": pattern})
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    said = [{"role": "user", "content": "Hello"}]
    asked = {"model": "tiny", "messages": said, "response_format": form, "max_tokens": 100}
    answer = daemon.http.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    if enforced is None:
        assert "not enforced: pattern" in answer.headers["warning"]
        return
    assert "warning" not in answer.headers
    text = json.loads(answer.json()["choices"][0]["message"]["content"])["x"]
    assert re.fullmatch(enforced, text), text


def test_what_is_not_enforced(daemon: DaemonProcess) -> None:
    """The client of a structured answer is told, in a header that nothing can break."""
    odd = 'a"\r\nX-Evil: 1é😀'
    schema = _holding({"type": "integer", "multipleOf": 5}) | {"format": odd, "type": "string"}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    said = [{"role": "user", "content": "Hello"}]
    asked = {"model": "tiny", "messages": said, "response_format": form, "max_tokens": 4}
    answer = daemon.http.post("/v1/chat/completions", json=asked)
    assert "multipleOf" in answer.headers["warning"]
    assert "x-evil" not in answer.headers


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["#", "#/$defs/a", "#/properties/x", "string", "OBJECT", "any", "^a|b+$", "["]),
)  # fmt: skip
_WORDS = st.sampled_from(
    "type properties required items anyOf oneOf allOf enum const $ref $defs pattern format minimum"
    " maximum minLength maxLength minItems maxItems additionalProperties nullable not".split()
)
SCHEMAS = st.recursive(
    _VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(_WORDS, inner, max_size=4),
        st.dictionaries(st.sampled_from("axy"), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(schema=SCHEMAS)
def test_any_schema(daemon: DaemonProcess, schema: Any) -> None:
    """A tool's schema of any shape is taken, asked for or not; that of an answer is never a 500."""
    said = [{"role": "user", "content": "Hello"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    asked = {"model": "demo-a", "messages": said, "max_tokens": 3}
    for choice in ("auto", "required"):
        body = {**asked, "tools": [tool], "tool_choice": choice}
        answer = daemon.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = daemon.http.post("/v1/chat/completions", json=asked | {"response_format": form})
    assert answer.status_code in (200, 400), answer.text
