"""request_rewrites.message_order: conversations in an order that every template takes."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites.message_order import in_order

_WORDS = st.sampled_from(["a", "b", "c"])
_PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": _WORDS}), max_size=2)
_ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
_TURNS = st.lists(
    st.fixed_dictionaries({"role": _ROLES}, optional={"content": _WORDS | _PARTS | st.none()}),
    max_size=7,
)
_BESIDE = st.fixed_dictionaries({}, optional={"system": _WORDS | _PARTS, "instructions": _WORDS})


def words(value: Any) -> list[str]:
    """Return every word in a document, sorted."""
    if isinstance(value, str):
        return sorted(letter for letter in value if letter in "abc")
    if isinstance(value, dict):
        value = [value.get(name) for name in ("system", "instructions", "messages", "input",
                                              "content", "text")]  # fmt: skip
    found = [word for each in value for word in words(each)] if isinstance(value, list) else []
    return sorted(found)


@given(turns=_TURNS, beside=_BESIDE, name=st.sampled_from(["messages", "input"]))
def test_any_turns(turns: list[Any], beside: dict[str, Any], name: str) -> None:
    """Nothing is lost, the system speaks in front alone, and a second time changes nothing."""
    document = {**beside, name: turns}
    body = in_order(msgspec.json.encode(document))
    if body is None:
        return
    found = msgspec.json.decode(body)
    assert words(found) == words(document)
    roles = [turn["role"] for turn in found[name]]
    assert not {"system", "developer"} & set(roles[1:])
    for one, two in itertools.pairwise(found[name]):
        both = one["role"] == two["role"] == "user"
        assert not both or None in (one.get("content"), two.get("content"))
    assert in_order(body) is None


@pytest.mark.parametrize("turns", [None, 3, ["x"], []])
def test_what_is_no_conversation(turns: Any) -> None:
    """It stays as it is."""
    assert in_order(msgspec.json.encode({"messages": turns})) is None


def test_results_of_tools_stay_apart() -> None:
    """A message of Anthropic's that tells them is not joined with another one."""
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
    body = {"messages": [result, {"role": "user", "content": "a"}]}
    assert in_order(msgspec.json.encode(body)) is None
