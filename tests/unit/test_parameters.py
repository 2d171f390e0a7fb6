"""What an owner says for every completion, put into requests whose other bytes stay as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnerd.configurations import ModelConfiguration
from runnerd.errors import ClientError
from runnerd.models.modelfile import Modelfile, Remark
from runnerd.relay.body import members_of
from runnerd.relay.request_rewrites.parameters import ParameterRules, rules_for

NOTHING = Modelfile()


def rules(
    operation: str = "chat/completions", made: Modelfile = NOTHING, **fields: Any
) -> ParameterRules:
    found = rules_for(ModelConfiguration.model_validate(fields), made, operation)
    assert found is not None
    return found


def text(changed: ParameterRules, body: bytes) -> bytes:
    return b"".join(changed.applied(members_of(body))) + b"}"


def document(changed: ParameterRules, **fields: Any) -> dict[str, Any]:
    result = json.loads(text(changed, json.dumps({"model": "m", **fields}).encode()))
    assert isinstance(result, dict)
    assert result.pop("model") == "m"
    return result


def test_nothing_is_done_where_nothing_was_said() -> None:
    """Models without such a configuration, and operations that complete nothing, have no rules."""
    assert rules_for(ModelConfiguration.model_validate({}), NOTHING, "completions") is None
    said = ModelConfiguration.model_validate({"completion_defaults": {"temperature": 0}})
    assert rules_for(said, NOTHING, "tokenize") is None
    loads = Modelfile(parameters={"num_ctx": 512, "num_gpu": 1, "unheard": "of"}, template="x")
    assert rules_for(ModelConfiguration.model_validate({}), loads, "completions") is None


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


ADA = Modelfile(
    system="You are Ada.",
    parameters={"num_predict": 3, "stop": ["!"], "num_ctx": 512, "temperature": 0.25},
    messages=(Remark("user", "Hi."), Remark("assistant", "Hi, I am Ada.")),
)
TURNS = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi, I am Ada."}]
ASKED = {"role": "user", "content": "x"}
SYSTEM = {"role": "system", "content": "You are Ada."}


def test_a_maker_is_below_the_owner_and_the_request() -> None:
    """Under the engine's names; what the owner forces or strips, the maker does not say."""
    made = Modelfile(parameters=ADA.parameters)
    changed = rules("completions", made, completion_defaults={"temperature": 0.5})
    assert document(changed) == {"max_tokens": 3, "stop": ["!"], "temperature": 0.5}
    assert document(changed, n_predict=9, stop=[], temperature=1) == {
        "n_predict": 9,
        "stop": [],
        "temperature": 1,
    }
    changed = rules("messages", made, forced_parameters={"max_tokens": 5})
    assert document(changed) == {"max_tokens": 5, "stop_sequences": ["!"], "temperature": 0.25}
    changed = rules("responses", made, stripped_parameters=["stop", "n_predict"])
    assert document(changed) == {"temperature": 0.25}


def test_defaults_of_ollama_are_below_the_maker() -> None:
    """They come with its requests."""
    body = b"".join(rules(made=ADA).applied({}, {"temperature": 0.8, "top_k": 40})) + b"}"
    assert json.loads(body) == {
        "temperature": 0.25,
        "top_k": 40,
        "max_tokens": 3,
        "stop": ["!"],
    }


@pytest.mark.parametrize(
    ("operation", "asked", "expected"),
    [
        ("chat/completions", {"messages": [ASKED]}, {"messages": [SYSTEM, *TURNS, ASKED]}),
        (
            "chat/completions",
            {"messages": [{"role": "developer", "content": "d"}, ASKED]},
            {"messages": [*TURNS, {"role": "developer", "content": "d"}, ASKED]},
        ),
        ("chat/completions", {"messages": []}, {"messages": []}),
        ("chat/completions", {"messages": "x"}, {"messages": "x"}),
        ("chat/completions", {"messages": [1]}, {"messages": [1]}),
        ("chat/completions", {"messages": None}, {"messages": None}),
        ("chat/completions", {}, {}),
        ("apply-template", {"messages": [ASKED]}, {"messages": [SYSTEM, *TURNS, ASKED]}),
        (
            "messages",
            {"messages": [ASKED]},
            {"system": "You are Ada.", "messages": [*TURNS, ASKED]},
        ),
        (
            "messages",
            {"system": [{"type": "text", "text": "s"}], "messages": [ASKED]},
            {"system": [{"type": "text", "text": "s"}], "messages": [*TURNS, ASKED]},
        ),
        (
            "messages/count_tokens",
            {"system": None, "messages": [ASKED]},
            {"system": "You are Ada.", "messages": [*TURNS, ASKED]},
        ),
    ],
)
def test_what_every_conversation_begins_with(
    operation: str, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A system prompt where the request has none, and messages; not where nothing is said."""
    made = Modelfile(system=ADA.system, messages=ADA.messages)
    assert document(rules(operation, made), **asked) == expected
    body = json.dumps(asked).encode()
    assert (
        json.loads(
            b"".join(rules(operation, made).applied(members_of(body), has_prefix=True)) + b"}"
        )
        == asked
    )


def test_what_a_conversation_begins_with_in_responses() -> None:
    """The system prompt is an instruction, what was answered an output."""
    made = Modelfile(system=ADA.system, messages=ADA.messages)
    changed = rules("responses", made)
    found = document(changed, input=[ASKED])
    assert found["instructions"] == "You are Ada."
    assert found["input"] == [*({"type": "message", **turn} for turn in TURNS), ASKED]
    assert "instructions" not in document(changed, input=[{"role": "developer", "content": "d"}])
    assert document(changed, input=[ASKED], instructions="Be.")["instructions"] == "Be."


def test_a_clients_messages_keep_their_bytes() -> None:
    """Only their bracket is replaced; large ones are not copied."""
    turns = rb' [ {"role":"user", "content":"\u00e9\/%s", "x":1.0e+0} ]' % (b"x" * (2 * 2**20))
    made = Modelfile(system="s")
    pieces = rules(made=made).applied(members_of(b'{"messages":%s}' % turns))
    assert turns.strip()[1:] in b"".join(pieces)
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) < 2**20


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
    pieces = rules(stripped_parameters=["seed"]).applied(members_of(body))
    assert value in b"".join(pieces)
    assert large in b"".join(pieces)
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) < 2**20
    assert len(pieces) <= 4


def test_a_name_that_is_no_text_is_refused() -> None:
    """Half a surrogate pair: the engine would not take it either."""
    with pytest.raises(ClientError, match="JSON"):
        rules(stripped_parameters=["seed"]).applied(members_of(rb'{"model":"m","\ud800":1}'))


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
