"""What a request goes on with: two requests of one conversation share it, others do not."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.affinity import affinity_of
from runnerd.relay.body import read_fields

SYSTEM = {"role": "system", "content": "Be brief."}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def chat(*messages: dict[str, Any], **more: Any) -> tuple[int, ...]:
    return affinity_of(
        read_fields(json.dumps({"model": "m", "messages": messages, **more}).encode())
    )


def text(prompt: Any) -> tuple[int, ...]:
    return affinity_of(read_fields(json.dumps({"prompt": prompt}).encode()))


def test_next_turn_goes_on_where_the_last_one_ended() -> None:
    """Whatever the model answered and other parameters say, the question is in common."""
    first = chat(SYSTEM, said("user", "Hi"))
    second = chat(SYSTEM, said("user", "Hi"), said("assistant", "Hello!"), said("user", "Why?"))
    again = chat(SYSTEM, said("user", "Hi"), temperature=0.5, stream=True)
    assert len(first) == 1
    assert second[:1] == first == again
    assert len(second) == 2


def test_same_system_message_is_not_the_same_conversation() -> None:
    """A system message alone, other tools or another question share nothing."""
    first = chat(SYSTEM, said("user", "Hi"))
    assert not {*first} & {*chat(SYSTEM, said("user", "Ho"))}
    assert not {*first} & {*chat(said("user", "Hi"))}
    assert not {*first} & {*chat(SYSTEM, said("user", "Hi"), tools=[{"type": "function"}])}
    assert not {*first} & {*chat(said("user", "Hi"), system="Be brief.")}
    assert chat(SYSTEM) == ()


def test_a_session_is_one_conversation_whatever_it_says() -> None:
    """And no other session's, nor that of a request that says the same."""
    body = json.dumps({"model": "m", "messages": [said("user", "Hi")]}).encode()
    one = affinity_of(read_fields(body), "one")
    assert one == affinity_of(read_fields(b'{"prompt": "other"}'), "one")
    assert len({*one, *affinity_of(read_fields(body), "two"), *affinity_of(read_fields(body))}) == 3


def test_text_goes_on_at_doubling_lengths() -> None:
    """A longer text shares what it begins with; a short one is not worth it."""
    prompt = "One thing leads to another. " * 20
    shorter, longer = text(prompt), text(prompt + "And so on. " * 100)
    assert longer[: len(shorter)] == shorter
    assert len(longer) > len(shorter) >= 3
    assert text("short") == ()
    assert not {*shorter} & {*text("X" + prompt)}


def test_long_conversations_are_bounded() -> None:
    """Of a thousand turns the last ones count."""
    turns = [said("user", str(number)) for number in range(1000)]
    assert len(chat(*turns)) == 16
    assert chat(*turns)[:-1] == chat(*turns[:-1])[1:]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_whatever_a_client_sends_is_no_error_here(value: Any) -> None:
    """The engine says what is wrong with messages or prompts; this looks away."""
    documents: list[dict[str, Any]] = [
        *({"messages": value}, {"messages": [value]}, {"prompt": value}, {"system": value}),
    ]
    if isinstance(value, dict):  # anything else is refused where it is read
        documents.append({name: each for name, each in value.items() if name != "model"})
    for document in documents:
        assert isinstance(affinity_of(read_fields(json.dumps(document).encode())), tuple)
