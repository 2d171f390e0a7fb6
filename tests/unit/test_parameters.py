"""What an owner says for every completion, put into requests whose other bytes stay as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnerd.configurations import ModelConfiguration
from runnerd.errors import ClientError
from runnerd.relay.parameters import ParameterRules, rules_for


def rules(operation: str = "chat/completions", **fields: Any) -> ParameterRules:
    found = rules_for(ModelConfiguration.model_validate(fields), operation)
    assert found is not None
    return found


def text(changed: ParameterRules, body: bytes) -> bytes:
    return b"".join(changed.applied(body)) + b"}"


def document(changed: ParameterRules, **fields: Any) -> dict[str, Any]:
    result = json.loads(text(changed, json.dumps({"model": "m", **fields}).encode()))
    assert isinstance(result, dict)
    assert result.pop("model") == "m"
    return result


def test_nothing_is_done_where_nothing_was_said() -> None:
    """Models without such a configuration, and operations that complete nothing, have no rules."""
    assert rules_for(ModelConfiguration.model_validate({}), "completions") is None
    said = ModelConfiguration.model_validate({"completion_defaults": {"temperature": 0}})
    assert rules_for(said, "tokenize") is None


def test_default_holds_where_a_request_does_not_say() -> None:
    """Saying it by another name of the same is saying it; null is not."""
    changed = rules(completion_defaults={"temperature": 0.5, "max_tokens": 7, "stop": ["x"]})
    assert document(changed) == {"temperature": 0.5, "max_tokens": 7, "stop": ["x"]}
    assert document(changed, temperature=0, n_predict=3, stop="y") == {
        "temperature": 0,
        "n_predict": 3,
        "stop": "y",
    }
    assert document(changed, max_completion_tokens=None, temperature=None, stop=[]) == {
        "temperature": 0.5,
        "max_tokens": 7,
        "stop": [],
    }


def test_forced_parameter_replaces_whatever_a_request_says() -> None:
    """By whichever name, and also what is a default."""
    changed = rules(
        forced_parameters={"max_tokens": 5, "top_k": 1}, completion_defaults={"top_k": 40}
    )
    assert document(changed, n_predict=99, max_completion_tokens=98, top_k=2) == {
        "max_tokens": 5,
        "top_k": 1,
    }


def test_stripped_parameter_is_taken_out() -> None:
    """Together with its other names; a default of it still holds."""
    changed = rules(stripped_parameters=["seed", "max_tokens", "logit_bias"])
    assert document(changed, seed=1, n_predict=2, logit_bias={}, top_p=1) == {"top_p": 1}
    changed = rules(stripped_parameters=["seed"], completion_defaults={"seed": 7})
    assert document(changed, seed=1) == {"seed": 7}


def test_names_are_those_of_the_operation() -> None:
    """OpenAI's responses and Anthropic's messages call some of them otherwise."""
    said = {"max_tokens": 5, "stop": ["x"]}
    assert document(rules("responses", completion_defaults=said)) == {
        "max_output_tokens": 5,
        "stop": ["x"],
    }
    assert document(rules("messages", completion_defaults=said), max_tokens=9) == {
        "max_tokens": 9,
        "stop_sequences": ["x"],
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'{"model":"m","seed":1,"seed":2}', {"model": "m", "temperature": 0}),
        (rb'{"model":"m","\u0073eed":1}', {"model": "m", "temperature": 0}),
        (rb'{"model":"m","x":{"seed":1}}', {"model": "m", "x": {"seed": 1}, "temperature": 0}),
        (rb'{"model":"\"seed\":1"}', {"model": '"seed":1', "temperature": 0}),
        (rb'{"temperature":null,"model":"m"}', {"model": "m", "temperature": 0}),
        (rb'{"temper\u0061ture":9,"model":"m"}', {"model": "m", "temperature": 9}),
        (rb'{"temperature":1,"temperature":2,"model":"m"}', {"model": "m", "temperature": 2}),
        (b'\n{ "model" :\t"m" }\n ', {"model": "m", "temperature": 0}),
    ],
)
def test_hostile_spellings(body: bytes, expected: dict[str, Any]) -> None:
    """Doubled, escaped and nested names mean what they mean to the engine."""
    changed = rules(stripped_parameters=["seed"], completion_defaults={"temperature": 0})
    assert json.loads(text(changed, body)) == expected


def test_values_keep_their_bytes() -> None:
    """Numbers their digits, strings their escapes, and large ones are not copied."""
    value = rb'[1.0e+0, 100000000000000000000.10, "\u00e9\/", {"b" : 1, "b":2}]'
    large = b'"%s"' % (b"x" * (3 * 2**20))
    body = b'{"model":"m","exact":%s,"large":%s}' % (value, large)
    pieces = rules(stripped_parameters=["seed"]).applied(body)
    assert value in b"".join(pieces)
    assert large in b"".join(pieces)
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) < 2**20
    assert len(pieces) <= 4


def test_a_name_that_is_no_text_is_refused() -> None:
    """Half a surrogate pair: the engine would not take it either."""
    with pytest.raises(ClientError, match="JSON"):
        rules(stripped_parameters=["seed"]).applied(rb'{"model":"m","\ud800":1}')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["seed", "temperature", "n_predict", "max_tokens", "a", "", '"', "é"])


@given(
    members=st.lists(st.tuples(NAMES | st.text(max_size=5), VALUES), max_size=8),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 3]),
)
@example(members=[("max_tokens", None), ("n_predict", 1)], ascii_only=True, indent=None)
def test_the_same_as_with_a_whole_decoder(
    members: list[tuple[str, Any]], ascii_only: bool, indent: int | None
) -> None:
    """Whatever a body holds, doubled names included, it is changed as the document would be."""
    written = [
        json.dumps(name, ensure_ascii=ascii_only) + ":" + json.dumps(value, indent=indent)
        for name, value in [("model", "m"), *members]
    ]
    body = ("{" + ", ".join(written) + "}").encode()
    expected = json.loads(body)
    expected.pop("seed", None)
    expected["temperature"] = 0.25
    if expected.get("n_predict") is None and expected.get("max_tokens") is None:
        expected.pop("n_predict", None)
        expected["max_tokens"] = 9
    changed = rules(
        stripped_parameters=["seed"],
        forced_parameters={"temperature": 0.25},
        completion_defaults={"max_tokens": 9},
    )
    assert json.loads(text(changed, body)) == expected
