"""response_adapters.model_name: one name replaced by another in bytes that come in pieces."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.response_adapters.model_name import ModelNameFilter

# What can be mistaken for the member, or for its beginning, and what cannot.
_SNIPPETS = st.sampled_from(
    [b'"model":"old"', b'"model": "old"', b'"model":', b'"model', b'"', b'"m', b"old", b'old"',
     b'"model":"older"', b'"model":  "old"', b'\\"model\\":\\"old\\"', b"data: {", b"}\n\n",
     b"model", b":", b" ", b'"model":"'],
)  # fmt: skip


def pieces_of(text: bytes, data: st.DataObject) -> list[bytes]:
    """Cut a text anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(st.lists(_SNIPPETS, max_size=12), st.data())
def test_pieces_say_what_the_whole_says(snippets: list[bytes], data: st.DataObject) -> None:
    """However it is cut; and no more is held back than could become the member."""
    text = b"".join(snippets)
    whole = ModelNameFilter("old", "new one")
    expected = whole.feed(text) + whole.end()
    renaming, said, given_so_far = ModelNameFilter("old", "new one"), b"", b""
    for piece in pieces_of(text, data):
        given_so_far += piece
        said += renaming.feed(piece)
        held = renaming._held
        assert not held or any(member.startswith(held) for member in renaming._members)
        assert given_so_far.endswith(held)
    assert said + renaming.end() == expected
    # From left to right: two members may share a quotation mark, and then only the first is one.
    assert expected == re.sub(rb'"model": ?"old"', b'"model":"new one"', text)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@given(text=st.text(), data=st.data())
def test_only_the_member_is_replaced(
    separators: tuple[str, str], text: str, data: st.DataObject
) -> None:
    """A text that looks like the member is an escaped one, and stays."""
    document = {"id": 'a "model":"old" ' + text, "model": "old", "text": '"model": "old"'}
    encoded = json.dumps(document, separators=separators, ensure_ascii=False).encode(
        errors="replace"
    )
    renaming = ModelNameFilter("old", "new")
    said = b"".join(map(renaming.feed, pieces_of(encoded, data))) + renaming.end()
    assert json.loads(said) == {**json.loads(encoded), "model": "new"}
