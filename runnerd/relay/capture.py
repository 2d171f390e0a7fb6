"""What was asked and answered, kept for an owner who wants to see it: a little of it, in memory.

It is off until the owner switches it on (`capture_requests`), since it holds conversations.  What
a client is sent is taken down between exchange and connection, so that neither knows of it.
"""

from __future__ import annotations

import re

import msgspec

from runnerd.access import Principal
from runnerd.relay.body import Body
from runnerd.relay.events import EVENT_STREAM, StreamError
from runnerd.relay.exchange_context import Client
from runnerd.relay.response_adapters.assembly import Assembly

MOST_BYTES = 2**16  # of a request, and of its response

_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{512,}")
_SHOWN = 100  # bytes of an image or a sound
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r\n")
_TYPE = re.compile(rb"\r\ncontent-type: *([^\r\n;]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Content(msgspec.Struct, gc=False):
    """A request's body, where it was sent, and its response as it went over the wire."""

    url: str
    request: bytes
    response: bytearray = msgspec.field(default_factory=bytearray)

    @classmethod
    def of(cls, url: str, body: Body) -> Content:
        """Keep a request; of long runs of base64 only the beginning."""
        return cls(url, _BASE64.sub(_shortened, bytes(body))[:MOST_BYTES])

    def request_text(self) -> str:
        """The body of the request."""
        return self.request.decode(errors="replace")

    def response_text(self) -> str:
        """The body of the response; a stream of OpenAI's chunks as the one object that it makes."""
        head, _, body = bytes(self.response).partition(b"\r\n\r\n")
        if _CHUNKED.search(head):
            body = _joined(body)
        kind = _TYPE.search(head)
        if kind is not None and kind[1] == EVENT_STREAM:
            body = _folded(body)
        return body.decode(errors="replace")


class CapturingClient:
    """A client that is told everything that it would be told anyway."""

    def __init__(self, client: Client, content: Content) -> None:
        self._client = client
        self._content = content

    def write(self, data: bytes) -> None:
        """Keep the data, as far as there is room, and pass it on."""
        kept = self._content.response
        kept += data[: MOST_BYTES - len(kept)]
        self._client.write(data)

    def exchange_done(self, *, keep_alive: bool) -> None:
        self._client.exchange_done(keep_alive=keep_alive)

    def principal(self) -> Principal:
        return self._client.principal()


def _shortened(found: re.Match[bytes]) -> bytes:
    left = len(found[0]) - _SHOWN
    return found[0][:_SHOWN] + b"...[truncated %d chars]" % left


def _joined(body: bytes) -> bytes:
    """A body without its chunks' framing, as far as it was kept."""
    pieces, at = [], 0
    while (size := _CHUNK_SIZE.match(body, at)) is not None:
        length = int(size[1], 16)
        pieces.append(body[size.end() : size.end() + length])
        at = size.end() + length + 2
        if not length:
            break
    return b"".join(pieces)


def _folded(body: bytes) -> bytes:
    """A stream of OpenAI's chunks as one object; the stream itself where it is another."""
    if b'"choices"' not in body:
        return body
    assembly = Assembly()
    try:
        assembly.feed(body)
        return assembly.result()
    except (StreamError, LookupError, TypeError, ValueError):
        return body
