"""Heads that were read before."""

from __future__ import annotations

import pytest

from runnerd.relay.messages import Request
from runnerd.relay.request_head_cache import RequestHeadCache
from runnerd.relay.routes import Route, find

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX-A: b\r\n\r\n"
ROUTE = find("/v1/completions")


def message(body: bytes, head: bytes = HEAD) -> bytes:
    return head % len(body) + body


def asked(*headers: tuple[bytes, bytes]) -> Request:
    return Request(
        "POST", b"/v1/completions", "/v1/completions", list(headers), True, True, 5, False, "id-1"
    )


@pytest.fixture(params=["kept", "just used"])
def known(request: pytest.FixtureRequest) -> RequestHeadCache:
    """Heads with one that is known; the one used last is looked for in another way."""
    assert isinstance(ROUTE, Route)
    known = RequestHeadCache()
    known.remember(message(b"12345"), asked(), ROUTE)
    if request.param == "just used":
        assert known.find(message(b"")) is not None
    return known


def test_same_head_with_another_length_is_known(known: RequestHeadCache) -> None:
    """Only body and length differ; the request gets an id of its own."""
    data = message(b"x" * 1234)
    found = known.find(data)
    assert found is not None
    head, start = found
    assert data[start:] == b"x" * 1234
    repeated = head.request.repeated(data[start:])
    assert (repeated.length, repeated.received, repeated.complete) == (1234, 1234, True)
    assert repeated.id != "id-1"
    assert b"X-Request-Id: %s\r\n" % repeated.id.encode() in repeated.response_lines()


@pytest.mark.parametrize(
    "data",
    [
        message(b"1234")[:-1],
        message(b"1234") + b"P",
        message(b"1234").replace(b"X-A: b", b"X-A: c"),
        message(b"1234").replace(b"Content-Length: 4", b"Content-Length: +4"),
        message(b"1234").replace(b"Content-Length: 4", b"Content-Length: 4 "),
        message(b"1234").replace(b"Content-Length: 4", b"Content-Length: 4, 4"),
        message(b"1234").replace(b"Content-Length: 4", b"Content-Length:\t4"),
        message(b"1234").replace(b"X-A: b", b"Content-Length: 4"),
        message(b"1234").replace(b"\r\nX-A", b"\r\nTransfer-Encoding: chunked\r\nX-A"),
        message(b"1234").replace(b"\r\n\r\n", b"\n\n"),
        b" " + message(b"1234"),
        b"\r\n" + message(b"1234"),
        b"",
    ],
)
def test_anything_else_must_be_parsed(known: RequestHeadCache, data: bytes) -> None:
    """Half a message, more than one, or a head that differs in any other byte is not known."""
    assert known.find(data) is None


@pytest.mark.parametrize("name", [b"x-request-id", b"traceparent"])
def test_head_with_an_id_of_its_own_is_not_kept(name: bytes) -> None:
    """A client's own request id must not be given to the next request, nor its trace; and heads
    that are never the same again would push out those that are.
    """
    assert isinstance(ROUTE, Route)
    known = RequestHeadCache()
    known.remember(message(b"12345"), asked((name, b"a")), ROUTE)
    assert known.find(message(b"12345")) is None


def test_many_different_heads_are_not_kept_for_ever() -> None:
    """A hostile client with ever new heads cannot fill the memory."""
    assert isinstance(ROUTE, Route)
    known = RequestHeadCache()
    for number in range(1000):
        head = HEAD.replace(b"X-A: b", b"X-A: %04d" % number)
        known.remember(message(b"12345", head), asked(), ROUTE)
    found = [
        known.find(message(b"12345", HEAD.replace(b"X-A: b", b"X-A: %04d" % number)))
        for number in range(1000)
    ]
    assert found[999] is not None
    assert sum(entry is not None for entry in found) <= 256
