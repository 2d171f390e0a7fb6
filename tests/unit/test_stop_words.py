"""request_rewrites.stop_words: empty ones were not said."""

from __future__ import annotations

import json

import pytest

from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites.stop_words import has_stops, with_said_stops


@pytest.mark.parametrize("name", ["stop", "stop_sequences"])
@pytest.mark.parametrize(
    ("said", "left"),
    [("", None), ([""], None), ([], None), (["", "a"], ["a"]), ("a", "a"), (["a"], ["a"]), (3, 3)],
)
def test_empty_ones(name: str, said: object, left: object) -> None:
    """What is left is said; nothing at all is not."""
    request = parse(json.dumps({"model": "m", name: said, "seed": 1}).encode())
    assert has_stops(request.fields)
    found = with_said_stops(request)
    expected = {"model": "m", "seed": 1} | ({} if left is None else {name: left})
    assert json.loads(found.body) == expected
    assert has_stops(found.fields) == (left is not None)
    assert found.reference == "m"


def test_untouched() -> None:
    """The client's own bytes stay where nothing is empty, and most requests have none."""
    request = parse(b'{"model":"m","stop":["a"]}')
    assert with_said_stops(request) is request
    assert not has_stops(parse(b'{"model":"m"}').fields)
