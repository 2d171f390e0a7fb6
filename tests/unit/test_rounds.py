"""response_adapters.rounds: several responses of an engine are one to the client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.relay.dialect import AskedAgain
from runnerd.relay.events import DONE, StreamError, written
from runnerd.relay.response_adapters.rounds import Rounds, bodies, slots_of
from runnerd.relay.translations import PASSED

_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_what_is_asked() -> None:
    """As many as fit, and with another seed each time."""
    body = b'{"model":"m","n":5,"seed":7}'
    rounds = list(bodies(body, 2))
    asked = [json.loads(each) for _, each in rounds]
    assert [size for size, _ in rounds] == [2, 2, 1]
    assert [(each["n"], each["seed"]) for each in asked] == [(2, 7), (2, 9), (1, 11)]
    assert "seed" not in json.loads(next(bodies(b'{"n":3}', 2))[1])


@pytest.mark.parametrize(
    "said", ["129", "8589934592", "1e300", "0", "-3", "4", "true", "null", '"9"', "[9]", None]
)
def test_what_is_not_asked_in_rounds(said: str | None) -> None:
    """More than OpenAI would give, by the request itself: the engine reads 2**33 as 0."""
    member = b"" if said is None else b',"n":' + said.encode()
    assert list(bodies(b'{"model":"m"%s}' % member, 4)) == []


def test_large_requests_are_not_asked_in_many_rounds() -> None:
    """The requests of all rounds are held at once."""
    body = b'{"model":"m","n":128,"prompt":"%s"}' % (b"x" * 2**20)
    assert list(bodies(body, 1)) == []
    assert len(list(bodies(body, 8))) == 16


@pytest.mark.parametrize(
    ("message", "slots"),
    [
        ("Field 'n': Value must be between 1 <= value <= 4, but got 9", 4),
        ("Field 'seed': Value must be between 1 <= value <= 4, but got 9", 0),
        ("", 0),
    ],
)
def test_refusals(message: str, slots: int) -> None:
    """Only the engine's own word about its slots."""
    assert slots_of({"message": message}) == slots


def whole(count: int) -> bytes:
    """An engine's response to two prompts."""
    choices = [{"index": index, "text": "x"} for index in range(2 * count)]
    return json.dumps({"id": "i", "choices": choices, "usage": _USAGE}).encode()


def test_whole() -> None:
    """Choices to one prompt stand together; tokens are added up."""
    rounds = Rounds(PASSED, [2, 1], streams=False)
    assert rounds.feed(whole(2)) == b""
    with pytest.raises(AskedAgain):
        rounds.end()
    rounds.feed(whole(1))
    found = json.loads(rounds.end())
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3, 4, 5]
    assert found["usage"] == {name: 2 * value for name, value in _USAGE.items()}


def chunk(index: int, id: str) -> bytes:
    """An engine's event."""
    return written({"id": id, "choices": [{"index": index, "delta": {}}]})


def test_streams() -> None:
    """One id, one end, one account; choices numbered through."""
    rounds = Rounds(PASSED, [2, 1], streams=True)
    told = rounds.feed(chunk(0, "a") + chunk(1, "a"))
    told += rounds.feed(written({"id": "a", "choices": [], "usage": _USAGE}) + DONE)
    with pytest.raises(AskedAgain):
        rounds.end()
    told += rounds.feed(chunk(0, "b"))
    told += rounds.feed(written({"id": "b", "choices": [], "usage": _USAGE}) + DONE) + rounds.end()
    events = [line[6:] for line in told.decode().splitlines() if line]
    assert events.pop() == "[DONE]"
    documents: list[dict[str, Any]] = [json.loads(event) for event in events]
    assert {document["id"] for document in documents} == {"a"}
    assert [choice["index"] for each in documents for choice in each["choices"]] == [0, 1, 2]
    assert [each["usage"]["total_tokens"] for each in documents if "usage" in each] == [10]


def test_what_is_no_response() -> None:
    """Ends the whole."""
    rounds = Rounds(PASSED, [1, 1], streams=False)
    rounds.feed(b"[]")
    with pytest.raises(StreamError):
        rounds.end()
