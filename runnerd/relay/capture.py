"""What was asked and answered, kept for an owner who wants to see it: a little of it, in memory.

It is off until the owner switches it on (`capture_requests`), since it holds conversations.  What
comes back is taken down between the exchange and its sink, so that neither knows of it.
"""

from __future__ import annotations

import re

import msgspec

from runnerd.errors import RunnerdError
from runnerd.relay.body import Body
from runnerd.relay.error_formats import ErrorFormat
from runnerd.relay.events import EVENT_STREAM, StreamError
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_sink import ResponseSink

MOST_BYTES = 2**16  # of a request, and of its response

_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{512,}")
_SHOWN = 100  # bytes of an image or a sound


class Content(msgspec.Struct, gc=False):
    """A request's body, where it was sent, and the body of its response."""

    url: str
    request: bytes
    response: bytearray = msgspec.field(default_factory=bytearray)
    content_type: bytes = b""  # of the response

    @classmethod
    def of(cls, url: str, body: Body) -> Content:
        """Keep a request; of long runs of base64 only the beginning."""
        return cls(url, _BASE64.sub(_shortened, bytes(body))[:MOST_BYTES])

    def add(self, data: bytes) -> None:
        """Keep some of the response, as far as there is room."""
        self.response += data[: MOST_BYTES - len(self.response)]

    def request_text(self) -> str:
        """The body of the request."""
        return self.request.decode(errors="replace")

    def response_text(self) -> str:
        """The body of the response; a stream of OpenAI's chunks as the one object that it makes."""
        body = bytes(self.response)
        if self.content_type.startswith(EVENT_STREAM):
            body = _folded(body)
        return body.decode(errors="replace")


class CapturedResponse:
    """A ResponseSink that keeps what it passes on to another one, which gets it without framing."""

    def __init__(self, sink: ResponseSink, content: Content, errors: ErrorFormat) -> None:
        self._sink = sink
        self._content = content
        self._errors = errors

    @property
    def begun(self) -> bool:
        return self._sink.begun

    @property
    def wants_signs_of_life(self) -> bool:
        return self._sink.wants_signs_of_life

    def unread_bytes(self) -> int:
        return self._sink.unread_bytes()

    def waiting(self, *, streams: bool) -> None:
        self._sink.waiting(streams=streams)

    def placed(self) -> None:
        self._sink.placed()

    def head(
        self,
        status: int,
        content_type: bytes,
        length: int | None,
        *,
        chunked: bool,
        framed: bool,
        streams: bool,
        warnings: tuple[str, ...],
    ) -> bool:
        self._content.content_type = content_type
        return self._sink.head(
            status,
            content_type,
            length,
            chunked=chunked,
            framed=False,
            streams=streams,
            warnings=warnings,
        )

    def piece(self, data: bytes) -> None:
        self._content.add(data)
        self._sink.piece(data)

    def end(self) -> None:
        self._sink.end()

    def whole(
        self, status: int, content_type: bytes, body: bytes, warnings: tuple[str, ...]
    ) -> None:
        self._content.content_type = content_type
        self._content.add(body)
        self._sink.whole(status, content_type, body, warnings)

    def error(self, error: RunnerdError, *, intact: bool, warnings: tuple[str, ...]) -> None:
        told = error.body()["error"]
        if self._sink.begun:
            self._content.add(self._errors.event(told))
        else:
            self._content.add(self._errors.body(told, error.status))
        self._sink.error(error, intact=intact, warnings=warnings)

    def gone(self) -> None:
        self._sink.gone()


def _shortened(found: re.Match[bytes]) -> bytes:
    left = len(found[0]) - _SHOWN
    return found[0][:_SHOWN] + b"...[truncated %d chars]" % left


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
