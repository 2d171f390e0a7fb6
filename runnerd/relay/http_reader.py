"""Reads HTTP/1.1 requests from the bytes of one client; knows no socket, no loop and no timer.

llhttp parses, a head that was read and checked before is not parsed again (`request_head_cache`).
What comes out does not depend on how the bytes were cut into pieces: for each request a `Head`, the
pieces of its `Body`, and `END`.  What cannot be read as a request comes out as one `Malformed`, and
nothing comes after it: what else such a client sends is not read as requests.

Trailers, behind a chunked body, are read up to `_TRAILER_BYTES` and dropped: nobody here wants
them, and they must never pass for headers, which were checked without them.

An offer to upgrade (`Connection: Upgrade`: h2c, WebSocket) is ignored, as RFC 9110 lets a server:
the request is read and answered as any other.  llhttp stops behind a head with such an offer, as if
another protocol followed, and takes no body; so another parser, which was told of the same framing
without the offer, reads on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httptools

from runnerd.errors import ClientError, HeadersTooLarge, RunnerdError
from runnerd.limit_settings import Limits
from runnerd.relay.request_head_cache import CachedHead, RequestHeadCache

_TRAILER_BYTES = 8 * 2**10
_LINE_BYTES = 4  # of a header line, beside name and value
_FRAMING_BYTES = _TRAILER_BYTES + 2**10


class _TooManyTrailers(Exception):
    """Raised in a callback, where llhttp cannot be stopped otherwise."""


@dataclass(slots=True, eq=False)
class Head:
    """The head of a request.  Header names are lower case; `target` is as it was sent.

    `length` None and not `chunked`: there is no body.  `whole` is what may be one whole message
    that begins with this head, for the cache.
    """

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    http11: bool
    keep_alive: bool
    length: int | None = None
    chunked: bool = False
    whole: bytes | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """What the client sent is no request, or more of a head than is read."""

    error: RunnerdError


class End:
    """The request is complete."""


END: Final = End()

Body = bytes
"""A piece of a request's body, without its framing."""

Event = Head | Body | End | Malformed


class HttpReader:
    """Turns one client's bytes into requests.  To be closed: it and its parser refer to each other.

    `in_head` says that a request has begun whose head is not complete, `in_body` that one has whose
    body is not.
    """

    def __init__(self, limits: Limits, cache: RequestHeadCache | None = None) -> None:
        self._limits = limits
        self._cache = RequestHeadCache() if cache is None else cache
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[Event] = []
        self._failed = False
        self._skips_head = False  # it is our own, which tells a parser of a body's framing
        self._offer: Head | None = None  # of the latest message, if it offers to upgrade
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._framing_bytes = 0  # that came without anything of a body
        self._whole: bytes | None = None
        self.in_head = False
        self.in_body = False

    def close(self) -> None:
        """Read nothing further."""
        self._failed = True
        del self._parser

    def known(self, data: bytes) -> tuple[CachedHead, int] | None:
        """The head that was checked before, of a request that `data` is, and where its body
        begins; None: `data` has to be parsed.
        """
        if self.in_head or self.in_body:
            return None
        return self._cache.find(data)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return the events that they complete."""
        if self._failed:
            return []
        events: list[Event] = []
        self._events = events
        between = not (self.in_head or self.in_body)
        self._whole = data if between else None
        only_head = between or self.in_head
        rest: bytes | None = data
        while rest is not None:
            rest = self._parse(rest)
        self._whole = None
        if self.in_head:
            # What came with the end of another request is little, and is not counted.
            self._head_bytes = self._head_bytes + len(data) if only_head and not events else 0
            if self._head_bytes > self._limits.head_bytes:
                self._fail(head_too_large(self._limits))
        elif self.in_body:
            # Neither a body nor its end: an endless trailer, or what chunks are extended with.
            self._framing_bytes = 0 if events else self._framing_bytes + len(data)
            if self._framing_bytes > _FRAMING_BYTES:
                self._fail(_trailers_too_large())
        self._events = []
        return events

    def _parse(self, data: bytes) -> bytes | None:
        """Parse; return what another parser has to go on with, None: this one has taken all."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            return self._behind_offer(data[stopped.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _TooManyTrailers):
                raise
            self._fail(_trailers_too_large())
        except httptools.HttpParserError:
            self._fail(ClientError("malformed HTTP request"))
        return None

    def _behind_offer(self, rest: bytes) -> bytes | None:
        """Let another parser read the body of a request with an offer, and what follows."""
        head, self._offer = self._offer, None
        assert head is not None
        if self._failed:
            return None
        if any(name == b"transfer-encoding" for name, _ in head.headers) and not (
            head.http11 and _codings(head) == [b"chunked"]
        ):
            # llhttp has not held this against its rules for bodies.
            self._fail(ClientError("malformed HTTP request"))
            return None
        self._parser = httptools.HttpRequestParser(self)
        self._skips_head = True
        self._parser.feed_data(_framing(head))
        return rest

    def _fail(self, error: RunnerdError) -> None:
        self._failed = True
        self.in_head = self.in_body = False
        self._events.append(Malformed(error))

    # called by llhttp

    def on_message_begin(self) -> None:
        if not self._skips_head:
            self._target = b""
            self._headers = []
            self.in_head = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self._headers.append((name.lower(), value))
        elif not self._skips_head:
            self._trailer_bytes += len(name) + len(value) + _LINE_BYTES
            if self._trailer_bytes > _TRAILER_BYTES:
                raise _TooManyTrailers

    def on_headers_complete(self) -> None:
        if self._skips_head:
            self._skips_head = False
            return
        parser = self._parser
        head = Head(
            method=parser.get_method().decode("ascii"),
            target=self._target,
            headers=self._headers,
            http11=parser.get_http_version() == "1.1",
            keep_alive=parser.should_keep_alive(),
            whole=self._whole,
        )
        for name, value in head.headers:
            if name == b"content-length":
                head.length = int(value) if value.isdigit() else None
            elif name == b"transfer-encoding":
                head.chunked = True
        self._whole = None
        self._head_bytes = self._trailer_bytes = self._framing_bytes = 0
        self.in_head, self.in_body = False, True
        self._offer = head if parser.should_upgrade() else None
        self._events.append(head)

    def on_body(self, data: bytes) -> None:
        self._events.append(data)

    def on_message_complete(self) -> None:
        if self._offer is None:  # else it is only what llhttp takes for the end
            self.in_body = False
            self._events.append(END)


def head_too_large(limits: Limits) -> HeadersTooLarge:
    """Return the refusal of a head beyond the limits."""
    return HeadersTooLarge(
        f"the head exceeds {limits.head_bytes} bytes or {limits.headers} header lines"
    )


def _trailers_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"what follows the body exceeds {_TRAILER_BYTES} bytes")


def _codings(head: Head) -> list[bytes]:
    return [value.lower() for name, value in head.headers if name == b"transfer-encoding"]


def _framing(head: Head) -> bytes:
    """Return a head that frames its body as `head` does, and offers nothing."""
    lines = b"POST / HTTP/%s\r\n" % (b"1.1" if head.http11 else b"1.0")
    lines += b"Connection: %s\r\n" % (b"keep-alive" if head.keep_alive else b"close")
    if head.chunked:
        lines += b"Transfer-Encoding: chunked\r\n"
    elif head.length is not None:
        lines += b"Content-Length: %d\r\n" % head.length
    return lines + b"\r\n"
