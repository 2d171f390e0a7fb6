"""Members that are null are taken out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites.null_members import without_nulls


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": null}', {}),
        (b'{"a": null , "b":1,"c":null}', {"b": 1}),
        (b'{"b": {"c": null}, "a":null}', {"b": {"c": None}}),
        (b'{"b": "null", "a":null}', {"b": "null"}),
        (
            b'{"messages":[{"content":null,"name":null,"x":[null]},{"content":"y"}],"n":null}',
            {"messages": [{"content": None, "x": [None]}, {"content": "y"}]},
        ),
        (b'{"messages":["null"],"n":null}', {"messages": ["null"]}),
        (b'{"messages":null}', {}),
    ],
)
def test_nulls_are_taken_out(body: bytes, said: object) -> None:
    """At the top, and of messages; what lies deeper is the engine's."""
    found = without_nulls(body)
    assert json.loads(found) == said


@pytest.mark.parametrize(
    "body", [b"null", b"[null]", b"{null", b'{"a":1}', b"", b'"null"', b"\xffnull"]
)
def test_anything_else_stays(body: bytes) -> None:
    """Whoever refuses it sees it as it came."""
    assert without_nulls(body) == body


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text() | st.just("messages"), _VALUES))
def test_whatever_is_said_stays(document: dict[str, object]) -> None:
    """Values keep what they are."""
    document.pop("messages", None)
    body = json.dumps(document).encode()
    said = {name: value for name, value in document.items() if value is not None}
    assert json.loads(without_nulls(body)) == said
