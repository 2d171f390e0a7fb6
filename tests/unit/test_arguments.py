"""Arguments of calls that come back to the model."""

from __future__ import annotations

import json

import pytest

from runnerd.relay.request_rewrites.arguments import readable, with_readable_arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("{}", "{}"),
        ("", "{}"),
        (" \n", "{}"),
        (None, "{}"),
        ({"a": 1}, {"a": 1}),
        ('{"a": ', '{"arguments":"{\\"a\\": "}'),
        ("[1]", '{"arguments":"[1]"}'),
        ("Paris", '{"arguments":"Paris"}'),
    ],
)
def test_readable(arguments: object, said: object) -> None:
    """An object stays as it was written; what is none becomes the member of one."""
    assert readable(arguments) == said


def test_only_what_cannot_be_read_is_changed() -> None:
    """The rest of the conversation is as it came, and None says that nothing had to be done."""
    calls = [{"id": "1", "function": {"name": "f", "arguments": ""}},
             {"id": "2", "function": {"name": "g", "arguments": '{"x":1}'}}]  # fmt: skip
    document = {"model": "m", "messages": [{"role": "user", "content": "x"},
                                           {"role": "assistant", "tool_calls": calls}]}  # fmt: skip
    made = with_readable_arguments(json.dumps(document).encode())
    assert made is not None
    calls[0]["function"]["arguments"] = "{}"  # type: ignore[index]
    assert json.loads(made) == document
    assert with_readable_arguments(made) is None


@pytest.mark.parametrize(
    "document",
    [{}, {"messages": None}, {"messages": [1, None]}, {"messages": [{"tool_calls": {}}]},
     {"messages": [{"tool_calls": [1, {}, {"function": 1}]}]}],
)  # fmt: skip
def test_other_forms_are_left_to_who_refuses_them(document: object) -> None:
    """Nothing breaks at them."""
    assert with_readable_arguments(json.dumps(document).encode()) is None
