"""Requests as they were read, and the bytes of responses that the relay writes itself."""

from __future__ import annotations

import http
import itertools
import os
import re
from collections.abc import Callable
from typing import Any

import msgspec

from runnerd.access import Principal
from runnerd.access.principals import on_behalf_of
from runnerd.errors import RunnerdError
from runnerd.relay.error_formats import OPENAI, ErrorFormat

_LABEL = re.compile(rb"[A-Za-z0-9._/:@+-]{1,128}\Z")
_PRINCIPAL = re.compile(rb"[!-~]{1,64}(?: [!-~]{1,64})?\Z")
_LEAST_URGENT = re.compile(rb"(?:^|[,\s])u=7(?=$|[,;\s])")  # RFC 9218: background tasks
_RUN = f"req-{os.urandom(4).hex()}-"  # ids of two daemons, or of two lives of one, do not meet
_COUNTER = itertools.count(1)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


PeerPrincipal = Callable[[str], Principal]
"""Who is at the other end of a connection, given what the request says of whom it is for."""


class Request(msgspec.Struct, eq=False):
    """One request of a connection: its head, and its body as far as it has arrived.  A struct: one
    is made per request.

    Header names are lower case.  `path` is the target without query, with the prefix of Docker
    Desktop's socket stripped; `target` is what the control plane gets to see.  `user` is whose key
    the head shows, `unauthorized` why the one that it shows does not count, `forwarded_for` whose
    request it is where a proxy says so, `on_behalf_of` whose a worker says that it is (the id of a
    principal), `session` what a request of the daemon's own goes on with.
    """

    method: str
    target: bytes
    path: str
    headers: list[tuple[bytes, bytes]]
    http11: bool
    keep_alive: bool
    length: int | None
    chunked: bool
    id: str
    expects_continue: bool = False
    allowed: bytes = b""  # header lines of every response that let a web page read it
    origin: str | None = None
    user_agent: str | None = None
    preload_only: bool = False
    error_format: ErrorFormat = OPENAI  # of the route
    body: bytes | bytearray = b""
    received: int = 0
    complete: bool = False
    user: Principal | None = None
    forwarded_for: str = ""
    unauthorized: RunnerdError | None = None
    session: str = ""
    background: bool = False  # work that nobody waits for
    on_behalf_of: str = ""
    ping_interval: bytes | None = None  # how often it wants to hear that it waits, as it says

    def principal(self, peer: PeerPrincipal) -> Principal:
        """Who makes it; `peer` is who is at the connection's other end.

        Raises errors.Unauthorized for a credential that does not count.
        """
        if self.unauthorized is not None:
            raise self.unauthorized
        found = peer(self.forwarded_for) if self.user is None else self.user
        return on_behalf_of(found, self.on_behalf_of) if self.on_behalf_of else found

    @property
    def awaits_continue(self) -> bool:
        """Whether its client sends the body only once it is told to."""
        return self.expects_continue and not self.complete and not self.body

    def read_labels(self) -> None:
        """Note what the headers say beside the framing: origin, program, whether it only loads."""
        agent = self.header(b"user-agent")
        self.origin = self.label(b"x-request-origin")
        self.user_agent = None if agent is None else agent[:200].decode("latin-1")
        self.preload_only = (self.header(b"x-preload-only") or b"").lower() == b"true"
        priority = self.header(b"priority")
        self.background = priority is not None and _LEAST_URGENT.search(priority) is not None
        self.ping_interval = self.header(b"x-ping-interval")
        whose = self.header(b"x-on-behalf-of")
        self.on_behalf_of = whose.decode("ascii") if whose and _PRINCIPAL.match(whose) else ""

    def collect(self, data: bytes) -> None:
        """Add a piece to the body; a large one is collected in place, never copied as a whole."""
        if isinstance(self.body, bytearray):
            self.body += data
        elif self.body:
            self.body = bytearray(self.body)
            self.body += data
        else:
            self.body = data

    def repeated(self, body: bytes) -> Request:
        """Return a request with the same head, another body of known length and an id of its own.

        Only for one that had no id from its client.
        """
        return msgspec.structs.replace(
            self,
            id=f"{_RUN}{next(_COUNTER):x}",
            body=body,
            length=len(body),
            received=len(body),
            chunked=False,
            complete=True,
        )

    def response_lines(self) -> bytes:
        """The header lines of its responses, beside framing and type: the id, also under the name
        that its API's clients look for.
        """
        told = self.id.encode("ascii")
        lines = b"%sX-Request-Id: %s\r\n" % (self.allowed, told)
        if (name := self.error_format.id_header) is not None:
            lines += b"%s: %s\r\n" % (name, told)
        return lines

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of this (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def error_body(self, document: dict[str, Any], status: int) -> bytes:
        """An error (`{"error": {...}}`, as OpenAI's) in the format of the route."""
        return self.error_format.body(document["error"], status)

    def error_event(self, document: dict[str, Any]) -> bytes:
        """The bytes that tell an error inside a stream, wherever that broke off."""
        return self.error_format.event(document["error"])

    def label(self, name: bytes) -> str | None:
        """Return a header that is a label (no spaces, bounded); anything else counts as absent."""
        value = self.header(name)
        return value.decode("ascii") if value is not None and _LABEL.match(value) else None


def new_request_id(offered: bytes | None) -> str:
    """Return the client's own request id if it is a plain label, else a fresh one."""
    if offered is not None and _LABEL.match(offered):
        return offered.decode("ascii")
    return f"{_RUN}{next(_COUNTER):x}"


def status_line(status: int) -> bytes:
    """Return the status line of a response."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in http.HTTPStatus
}


def header_lines(headers: dict[str, str]) -> bytes:
    """Return headers as the lines of a head."""
    return b"".join(
        b"%s: %s\r\n" % (name.encode("ascii"), value.encode("latin-1"))
        for name, value in headers.items()
    )


def response(
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    lines: bytes = b"",
    keep_alive: bool = True,
) -> bytes:
    """Return a whole response with a body of known length; `lines` are further headers."""
    return b"%sContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n%s" % (
        status_line(status),
        content_type,
        len(body),
        lines,
        b"" if keep_alive else b"Connection: close\r\n",
        body,
    )


def passing_head(
    request: Request,
    status: int,
    content_type: bytes,
    *,
    length: int | None,
    chunked: bool,
    warnings: tuple[str, ...],
) -> tuple[bytes, bool]:
    """Return the head of a response whose body passes through as it comes, and whether that is to
    be chunked; where neither length nor chunks can tell its end, the connection's end does.
    """
    lines = request.response_lines()
    if warnings:
        lines += warning_lines(warnings)
    chunks = chunked and length is None and request.http11
    if length is not None:
        framing = b"Content-Length: %d\r\n" % length
    elif chunks:
        framing = b"Transfer-Encoding: chunked\r\n"
    else:
        request.keep_alive, framing = False, b""
    if length is None:
        framing += b"X-Accel-Buffering: no\r\n"  # proxies that keep streams back know this one
    if not request.keep_alive:
        framing += b"Connection: close\r\n"
    head = b"%sContent-Type: %s\r\nCache-Control: no-cache\r\n%s%s\r\n" % (
        _STATUS_LINES.get(status) or status_line(status),
        content_type,
        lines,
        framing,
    )
    return head, chunks


_LONGEST_WARNING = 1000


def warning_lines(warnings: tuple[str, ...]) -> bytes:
    """The header that tells sentences about a request."""
    told = ", ".join(f'299 runnerd "{_quotable(text)}"' for text in warnings)
    return b"Warning: %s\r\n" % told.encode("ascii")


def _quotable(text: str) -> str:
    """A sentence as it can stand between quotes in a header, whatever of a client's is in it."""
    plain = "".join(each if " " <= each <= "~" else "?" for each in text[:_LONGEST_WARNING])
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def error_response(
    request: Request, error: RunnerdError, keep_alive: bool, lines: bytes = b""
) -> bytes:
    """An error in the format of the request's route, as a whole response."""
    return response(
        error.status,
        request.error_body(error.body(), error.status),
        lines=request.response_lines() + lines + header_lines(error.headers()),
        keep_alive=keep_alive,
    )


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)
