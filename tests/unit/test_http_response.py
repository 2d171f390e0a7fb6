"""One response as bytes of HTTP/1.1: framing, errors before and within the body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.errors import BackendFailure, Overloaded
from runnerd.relay.http_response import HttpResponse
from runnerd.relay.messages import Request

STREAM = b"text/event-stream"
LOST = BackendFailure("gone")


class Client:
    """Keeps what is written, and whether the connection goes on (None: not done)."""

    write_paused = False

    def __init__(self) -> None:
        self.written = b""
        self.keeps: bool | None = None

    def unread_bytes(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        assert self.keeps is None
        self.written += data

    def exchange_done(self, *, keep_alive: bool) -> None:
        assert self.keeps is None
        self.keeps = keep_alive

    def parts(self) -> tuple[bytes, bytes]:
        """Head and body."""
        head, _, body = self.written.partition(b"\r\n\r\n")
        return head, body


def response(*, http11: bool = True) -> tuple[Client, HttpResponse]:
    client = Client()
    request = Request("POST", b"/", "/", [], http11, http11, 2, False, "id-1")
    return client, HttpResponse(client, request)


def begin(sink: HttpResponse, **said: Any) -> bool:
    usual: dict[str, Any] = {"chunked": True, "framed": False, "streams": True, "warnings": ()}
    length = said.pop("length", None)
    return sink.head(200, STREAM, length, **usual | said)


def test_a_body_of_known_length() -> None:
    """Passes without framing, in one write with its head."""
    client, sink = response()
    assert not begin(sink, length=2, chunked=False)
    sink.piece(b"{}")
    sink.end()
    head, body = client.parts()
    assert b"Content-Length: 2" in head
    assert b"X-Request-Id: id-1" in head
    assert (body, client.keeps) == (b"{}", True)


def test_pieces_are_framed_here() -> None:
    """Each in a chunk, where the engine's framing cannot pass."""
    client, sink = response()
    assert not begin(sink)
    for piece in (b"ab", b"", b"c"):
        sink.piece(piece)
    sink.end()
    assert client.parts()[1] == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert client.keeps is True


def test_framing_of_the_engine_passes() -> None:
    """Its chunks, and its last one, are the client's."""
    client, sink = response()
    assert begin(sink, framed=True)
    sink.piece(b"2\r\nab\r\n0\r\n\r\n")
    sink.end()
    assert client.parts()[1] == b"2\r\nab\r\n0\r\n\r\n"


def test_old_clients_get_no_chunks() -> None:
    """The end of the connection is the end of the body."""
    client, sink = response(http11=False)
    assert not begin(sink, framed=True)
    sink.piece(b"ab")
    sink.end()
    assert client.parts()[1] == b"ab"
    assert client.keeps is False


def test_an_error_before_the_body_has_a_status() -> None:
    """And what headers belong to it; the connection goes on."""
    client, sink = response()
    sink.error(Overloaded("busy", retry_after=3), intact=True, warnings=())
    head, body = client.parts()
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 3" in head
    assert json.loads(body)["error"]["message"] == "busy"
    assert client.keeps is True


@pytest.mark.parametrize(
    ("framed", "intact", "told"),
    [(True, True, True), (True, False, False), (False, True, True), (False, False, True)],
)
def test_an_error_within_a_stream(framed: bool, intact: bool, told: bool) -> None:
    """Is told wherever another chunk can follow: always where they are our own."""
    client, sink = response()
    begin(sink, framed=framed)
    sink.piece(b"1\r\na\r\n" if framed else b"a")
    sink.error(LOST, intact=intact, warnings=())
    body = client.parts()[1]
    assert (b'"message":"gone"' in body, body.endswith(b"0\r\n\r\n")) == (told, told)
    assert client.keeps is told


def test_an_error_within_a_whole_body() -> None:
    """Nothing can be said there: the connection ends before the body does."""
    client, sink = response()
    begin(sink, length=10, chunked=False, streams=False)
    sink.piece(b"{")
    sink.error(LOST, intact=True, warnings=())
    assert client.parts()[1] == b"{"
    assert client.keeps is False


def test_warnings_are_a_header() -> None:
    """Of a whole response as of a stream."""
    client, sink = response()
    sink.whole(200, b"application/json", b"{}", ("ignored: a", "ignored: b"))
    assert b'Warning: 299 runnerd "ignored: a", 299 runnerd "ignored: b"\r\n' in client.written
    client, sink = response()
    begin(sink, warnings=("ignored: a",))
    sink.end()
    assert b'Warning: 299 runnerd "ignored: a"\r\n' in client.written


def test_nothing_is_written_once_it_is_unwanted() -> None:
    """The client has gone."""
    client, sink = response()
    begin(sink)
    sink.gone()
    sink.piece(b"a")
    sink.error(LOST, intact=True, warnings=())
    sink.end()
    assert (client.written, client.keeps) == (b"", None)
