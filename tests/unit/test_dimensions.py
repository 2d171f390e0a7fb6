"""Embeddings of fewer dimensions."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.dimensions import ShortenedEmbeddings, dimensions


def shortened(document: Any, count: int = 2) -> Any:
    """What the client gets of the engine's response, which comes in pieces."""
    adapter = ShortenedEmbeddings(count)
    data = json.dumps(document).encode()
    told = adapter.feed(data[:7]) + adapter.feed(data[7:])
    return json.loads(told + adapter.end())


def test_cut_and_brought_to_length_one() -> None:
    """Lists and base64 alike; everything else of the response stays."""
    packed = base64.b64encode(struct.pack("<3f", 3.0, 4.0, 12.0)).decode()
    document = {"data": [{"embedding": [3.0, 4.0, 12.0], "index": 0},
                         {"embedding": packed, "index": 1}], "model": "m"}  # fmt: skip
    made = shortened(document)
    assert made["data"][0] == {"embedding": [0.6, 0.8], "index": 0}
    values = struct.unpack("<2f", base64.b64decode(made["data"][1]["embedding"]))
    assert values == pytest.approx((0.6, 0.8))
    assert made["model"] == "m"


def test_a_vector_of_nothing() -> None:
    """It has no direction, and is not divided by its length."""
    assert shortened({"data": [{"embedding": [0.0, 0.0, 1.0]}]})["data"][0]["embedding"] == [0, 0]
    whole = shortened({"data": [{"embedding": [1.0, 1.0]}]})["data"][0]["embedding"]
    assert math.hypot(*whole) == pytest.approx(1.0)


def test_more_than_there_are() -> None:
    """The client's mistake, with the number that there are."""
    with pytest.raises(StreamError, match="have 3 dimensions") as caught:
        shortened({"data": [{"embedding": [1.0, 2.0, 3.0]}]}, 4)
    assert caught.value.error["code"] == 400


@pytest.mark.parametrize(
    "document",
    [{}, [], {"data": 1}, {"data": [1]}, {"data": [{"embedding": None}]},
     {"data": [{"embedding": "!"}]}, {"data": [{"embedding": "AAAA"}]},
     {"data": [{"embedding": ["x", "y"]}]}],
)  # fmt: skip
def test_what_is_no_response_of_embeddings(document: Any) -> None:
    """The engine's mistake."""
    with pytest.raises(StreamError):
        shortened(document)


@pytest.mark.parametrize("said", [b"0", b"-1", b"1.5", b'"2"', b"null", b"[1]", b"{"])
def test_what_is_no_number_of_dimensions(said: bytes) -> None:
    """It is refused by its name."""
    with pytest.raises(ClientError) as caught:
        dimensions(msgspec.Raw(said))
    assert caught.value.param == "dimensions"
    assert dimensions(msgspec.Raw(b"7")) == 7
