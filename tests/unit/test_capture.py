"""Responses as they were kept are shown as what they say."""

from __future__ import annotations

import json

import pytest

from runnerd.errors import BackendFailure
from runnerd.relay.capture import MOST_BYTES, CapturedResponse, Content
from runnerd.relay.error_formats import OPENAI
from runnerd.relay.http_response import HttpResponse
from runnerd.relay.messages import Request

STREAM = b"text/event-stream"


class Client:
    """Keeps what is written."""

    write_paused = False

    def __init__(self) -> None:
        self.written = b""

    def unread_bytes(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.written += data

    def exchange_done(self, *, keep_alive: bool) -> None: ...


def captured(content: Content) -> tuple[Client, CapturedResponse]:
    client = Client()
    request = Request("POST", b"/", "/", [], True, True, 2, False, "id-1")
    return client, CapturedResponse(HttpResponse(client, request), content, OPENAI)


@pytest.mark.parametrize(
    ("content_type", "response", "told"),
    [
        (b"", b"", ""),
        (b"application/json", b"{}", "{}"),
        (STREAM, b"data: ", "data: "),
        (STREAM, b'data: {"choices": 5}\n\n', 'data: {"choices": 5}\n\n'),
        (b"text/plain", b"\xff", "\ufffd"),
    ],
)
def test_responses(content_type: bytes, response: bytes, told: str) -> None:
    """As far as they were kept."""
    assert Content("/", b"", bytearray(response), content_type).response_text() == told


def test_a_stream_is_kept_without_framing_and_shown_as_one_object() -> None:
    """Its client gets it in chunks all the same; an error is part of it."""
    content = Content.of("/", b"{}")
    client, sink = captured(content)
    framed = sink.head(200, STREAM, None, chunked=True, framed=True, streams=True, warnings=())
    assert not framed
    chunk = b'data: {"object":"text_completion","choices":[{"index":0,"text":"a"}]}\n\n'
    for _ in range(2):
        sink.piece(chunk)
    assert json.loads(content.response_text())["choices"][0]["text"] == "aa"
    sink.error(BackendFailure("gone"), intact=True, warnings=())
    assert b'"gone"' in content.response
    assert client.written.count(b"%x\r\n%s\r\n" % (len(chunk), chunk)) == 2


def test_wholes_and_errors() -> None:
    """In the form in which the client gets them."""
    content = Content.of("/", b"{}")
    client, sink = captured(content)
    sink.whole(200, b"application/json", b"{}", ())
    assert (content.response_text(), client.written.endswith(b"\r\n\r\n{}")) == ("{}", True)
    content = Content.of("/", b"{}")
    client, sink = captured(content)
    sink.error(BackendFailure("gone"), intact=True, warnings=())
    assert client.written.endswith(content.response)
    assert json.loads(content.response)["error"]["message"] == "gone"


def test_no_more_than_a_bound_is_kept() -> None:
    """However much is sent, and all of it is passed on."""
    content = Content.of("/", b"x " * 10**6)
    client, sink = captured(content)
    sink.head(200, b"text/x", None, chunked=True, framed=True, streams=True, warnings=())
    for _ in range(5):
        sink.piece(b"y" * 30_000)
    assert len(content.response) == MOST_BYTES
    assert len(content.request) == MOST_BYTES
    assert client.written.count(b"y" * 30_000) == 5
