"""The prompt in front of its completion."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.relay.body import Inference, read_fields
from runnerd.relay.response_adapters.echo import Echo, echo_wanted


def asked(**members: Any) -> Inference:
    """A request as the relay decodes it."""
    return read_fields(msgspec.json.encode({"model": "m", **members}))


def chunk(*indices: int) -> dict[str, Any]:
    """An event with a piece of these responses."""
    return {"choices": [{"index": index, "text": f"<{index}>"} for index in indices]}


def test_each_prompt_in_front_of_each_of_its_responses() -> None:
    """Once, however the pieces come."""
    echo = Echo(["a", "b"], 2)
    told = []
    for indices in ([3], [0, 1], [0], [2, 3]):
        document = chunk(*indices)
        echo.change(document)
        told += [choice["text"] for choice in document["choices"]]
    assert told == ["b<3>", "a<0>", "a<1>", "<0>", "b<2>", "<3>"]
    assert not echo.concerns(b'data: {"choices":[]}')


def test_a_response_that_nobody_asked_for() -> None:
    """It stays as it is."""
    document = chunk(7)
    Echo(["a"], 1).change(document)
    assert document == chunk(7)


def test_until_all_have_begun_events_are_read() -> None:
    """Those with choices."""
    echo = Echo(["a"], 1)
    assert echo.concerns(b'data: {"choices":[{}]}')
    assert not echo.concerns(b'data: {"usage":{}}')


@pytest.mark.parametrize("members", [{}, {"echo": False}, {"echo": None}])
def test_who_does_not_ask_for_it(members: dict[str, Any]) -> None:
    """Nothing is put in front."""
    assert echo_wanted(asked(prompt="a", **members)) is None


@pytest.mark.parametrize(
    "members", [{"prompt": "a", "logprobs": 1}, {"prompt": [1, 2]}, {"prompt": []}, {}]
)
def test_where_it_cannot_be(members: dict[str, Any]) -> None:
    """Said before the engine is asked, by the member's name."""
    with pytest.raises(ClientError) as caught:
        echo_wanted(asked(echo=True, **members))
    assert caught.value.param == "echo"
