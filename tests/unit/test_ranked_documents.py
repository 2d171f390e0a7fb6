"""Documents to rank, as other APIs write them."""

from __future__ import annotations

import json

import pytest

from runnerd.relay.request_rewrites.ranked_documents import with_plain_documents


@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        ({"documents": [{"text": "a"}, "b"]}, ["a", "b"]),
        ({"documents": [{"x": "a", "y": "b", "n": 5}]}, ["a\nb"]),
        ({"documents": [{"x": "a", "y": "b"}], "rank_fields": ["y", "z"]}, ["b"]),
        ({"documents": [{"n": 5}, {}, 5]}, [{"n": 5}, {}, 5]),
    ],
)
def test_texts_of_documents(asked: dict[str, object], texts: list[object]) -> None:
    """An object is its text, or its fields; what has none stays for whoever refuses it."""
    body = json.dumps(asked).encode()
    found = with_plain_documents(body)
    assert json.loads(found)["documents"] == texts


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"documents":["a"]}', b'{"documents":{"a":{}}}', b'[{"a":{}}]', b"{{"]
)
def test_anything_else_stays(body: bytes) -> None:
    """As it came."""
    assert with_plain_documents(body) == body
