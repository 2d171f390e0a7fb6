"""What the relay reads of a body, and what it refuses to hand to an engine."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay.body import streamed
from runnerd.relay.body_inspection import inspect
from runnerd.relay.body_scan import count_prompts

LIMITS = Limits()


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields}).encode()


def nested(depth: int, brackets: str = "[]") -> str:
    return brackets[0] * depth + brackets[1] * depth


def test_model_and_stream_are_found_wherever_they_stand() -> None:
    """The order of members does not matter."""
    read = inspect(
        b'{"messages":[{"role":"user","content":"x"}],"stream":true,"model":"m"}', LIMITS
    )
    assert (read.reference, read.fields.stream) == ("m", True)


def test_escaped_name_is_the_model() -> None:
    """A name written with an escape is still the name."""
    assert inspect(b'{"mod\\u0065l":"m"}', LIMITS).reference == "m"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"", "not valid JSON", id="empty"),
        pytest.param(b"{", "not valid JSON", id="cut off"),
        pytest.param(b"[1]", "invalid request body", id="array"),
        pytest.param(b'{"model":"m"} x', "not valid JSON", id="trailing"),
        pytest.param(b'\xef\xbb\xbf{"model":"m"}', "not valid JSON", id="BOM"),
        pytest.param('{"model":"m"}'.encode("utf-16"), "not valid JSON", id="UTF-16"),
        pytest.param(b'{"model":"\xff"}', "not valid JSON", id="bad UTF-8"),
        pytest.param(b'{"model":"m","x":NaN}', "not valid JSON", id="NaN"),
        pytest.param(b'{"model":3}', "model", id="number as model"),
        pytest.param(b'{"stream":"yes","model":"m"}', "stream", id="text as stream"),
        pytest.param(b"{}", "model is required", id="no model"),
        pytest.param(b'{"model":"a","model":"b"}', "twice", id="two models"),
        pytest.param(b'{"model":"a","mod\\u0065l":"b"}', "twice", id="two models, one hidden"),
        pytest.param(body(id_slot=1), "id_slot", id="slot"),
        pytest.param(body(chat_parser="{}"), "chat_parser", id="parser"),
        pytest.param(body(n_discard=-5), "n_discard", id="discard"),
        pytest.param(b'{"model":"m","x":' + nested(200).encode() + b"}", "nested", id="deep"),
        pytest.param(
            b'{"model":"m","x":' + nested(200_000).encode() + b"}", "nested", id="very deep"
        ),
        pytest.param(body(grammar="root ::= " + nested(65, "()")), "nested", id="deep grammar"),
        pytest.param(
            body(json_schema={"enum": [str(n) for n in range(1001)]}), "enum", id="long enum"
        ),
        pytest.param(body(prompt=["x"] * 65), "prompt has more than", id="many prompts"),
        pytest.param(
            body(messages=[{"content": [{"type": "image_url", "image_url": {"url": "http://a/b"}}]}]),
            "inline",
            id="image by address",
        ),
        pytest.param(
            body(messages=[{"content": [{"image_url": "file:///etc/passwd"}]}]),
            "inline",
            id="image by path",
        ),
        pytest.param(
            b'{"model":"m","messages":[{"content":[{"image\\u005furl":"http://a"}]}]}',
            "inline",
            id="image, name hidden",
        ),
    ],
)  # fmt: skip
def test_bad_body_is_refused_with_its_reason(raw: bytes, says: str) -> None:
    """Everything that no engine should see is a 400 that names the field or the reason."""
    with pytest.raises(ClientError, match=says) as caught:
        inspect(raw, LIMITS)
    assert caught.value.status == 400


@pytest.mark.parametrize("field", ["grammar", "json_schema", "response_format"])
def test_too_large_a_schema_is_refused(field: str) -> None:
    """Schemas and grammars have a size limit of their own."""
    with pytest.raises(PayloadTooLarge, match=field):
        inspect(body(**{field: "x" * (LIMITS.schema_bytes + 1)}), LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"prompt": list(range(5000))}, id="token numbers are one prompt"),
        pytest.param({"input": ["x"] * 2048}, id="OpenAI's cap of inputs"),
        pytest.param({"messages": [{"content": "[[[[" * 100}]}, id="brackets in text"),
        pytest.param(
            {"tools": [{"function": {"parameters": {"properties": {"model": {}}}}}]},
            id="model as a tool's parameter",
        ),
        pytest.param(
            {"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,AA=="}}]}]},
            id="inline image",
        ),
        pytest.param({"id_slot": None}, id="null counts as absent"),
    ],
)
def test_ordinary_body_passes(fields: dict[str, Any]) -> None:
    """What real clients send is not in the way of the limits."""
    assert inspect(body(**fields), LIMITS).reference == "m"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=5), st.booleans())
def test_streaming_is_switched_on_whatever_the_body(fields: dict[str, Any], ascii: bool) -> None:
    """Appending to the object leaves all else as it was, for a reader that keeps the last."""
    fields = {name: value for name, value in fields.items() if name != "model"}
    raw = json.dumps({"model": "m", **fields}, ensure_ascii=ascii).encode("utf-8", "replace")
    expected = json.loads(raw) | {"stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(b"".join(streamed(raw + b" \n"))) == expected


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_do_more_than_fail(raw: bytes) -> None:
    """Whatever comes in, only the two errors of the contract come out."""
    with contextlib.suppress(ClientError):
        inspect(raw, LIMITS)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("text, [with] {brackets}", 1),
        ([1, 2, 3], 1),
        ([], 1),
        (['a, ["b', "c"], 2),
        ([[1, 2], [3, 4], [5]], 3),
        ([{"prompt_string": "a", "multimodal_data": ["x", [1]]}, "b"], 2),
    ],
)
def test_prompts_are_counted(prompt: object, count: int) -> None:
    """An array of texts, of token arrays or of objects has several prompts; of numbers, one."""
    assert count_prompts(inspect(body(prompt=prompt), LIMITS).fields.prompt) == count


def test_body_collected_in_place_reads_the_same() -> None:
    """A large body arrives as a bytearray."""
    raw = bytearray(body(prompt=["a", "b"], x=[[[]]] * 200))
    assert count_prompts(inspect(raw, LIMITS).fields.prompt) == 2
    raw = bytearray(body(x=json.loads("[" * 200 + "]" * 200)))
    with pytest.raises(ClientError, match="nested"):
        inspect(raw, LIMITS)


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner, min_size=1)))
def test_depth_is_exact(value: object) -> None:
    """A body passes if and only if it is not nested deeper than the limit."""
    depth = 1
    level = [value] if isinstance(value, list) else []
    while level:
        depth += 1
        level = [item for part in level for item in part if isinstance(item, list)]
    inspect(body(x=value), LIMITS.model_copy(update={"json_depth": depth}))
    if depth > 1:
        with pytest.raises(ClientError, match="nested"):
            inspect(body(x=value), LIMITS.model_copy(update={"json_depth": depth - 1}))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"max_tokens": 1}, 1),
        ({"max_completion_tokens": 1}, 1),
        ({"n_predict": 1, "max_tokens": 1, "n": 1}, 1),
        ({"max_tokens": 16}, 16),
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 1, "n_predict": 200}, None),
        ({"max_tokens": 1, "max_completion_tokens": None}, None),
        ({"max_tokens": 1, "n": 2}, None),
        ({"max_tokens": "1"}, None),
    ],
)
def test_a_token_limit_is_what_every_name_says(
    said: dict[str, Any], *, expected: int | None
) -> None:
    """Where another name says something else, it is not known which one counts."""
    assert inspect(body(**said), LIMITS).fields.token_limit() == expected


@pytest.mark.parametrize(
    ("name", "within", "beyond"),
    [
        ("dry_sequence_breakers", ["\n"] * 64, ["\n"] * 65),
        ("dry_sequence_breakers", ["x" * 4000], ["x" * 4100]),
        ("stop", ["x"] * 64, ["x"] * 65),
        ("stop", "x" * 8000, "x" * 9000),
        ("stop_sequences", ["x"], ["x"] * 65),
        ("samplers", ["top_k"] * 32, ["top_k"] * 33),
        ("logit_bias", {str(n): 1 for n in range(4000)}, {str(n): 1 for n in range(4100)}),
        ("logit_bias", [[1, 2]] * 4000, [[1, 2]] * 4100),
        ("top_logprobs", 20, 21),
        ("logprobs", 20, 50_000),
        ("logprobs", True, 21),
        ("n_probs", 100, 2**31),
        ("top_logprobs", None, 2**70),
        ("top_logprobs", 2.0, 2000.0),
        ("preserved_tokens", ["x"], ["x"] * 1025),
    ],
)
def test_members_of_unbounded_cost_have_bounds(name: str, within: Any, beyond: Any) -> None:
    """Each with its name in the refusal, before an engine sees it."""
    inspect(body(**{name: within}), LIMITS)
    with pytest.raises(ClientError, match=name) as refused:
        inspect(body(**{name: beyond}), LIMITS)
    assert refused.value.param == name
