"""The response to one request over HTTP: head, body, errors in their place.

An error before the first byte is a response with a status; after it, it is an event of the stream.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from runnerd.errors import RunnerdError
from runnerd.relay.engine_errors import broken
from runnerd.relay.events import EVENT_STREAM
from runnerd.relay.messages import (
    LAST_CHUNK,
    Request,
    chunk,
    error_response,
    passing_head,
    response,
    warning_lines,
)
from runnerd.relay.sse_heartbeat import COMMENT, Heartbeat, asks_for_heartbeat, interval_of


class Client(Protocol):
    """The connection's side of a response."""

    @property
    def write_paused(self) -> bool:
        """Whether the client does not keep up."""
        ...

    def unread_bytes(self) -> int:
        """How much the client has not taken of what was sent, as far as this process has it."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        ...

    def exchange_done(self, *, keep_alive: bool) -> None:
        """The response is complete; without `keep_alive` the connection must close."""
        ...


class HttpResponse(msgspec.Struct, eq=False):
    """A ResponseSink that writes to a client until it is complete, or until nobody wants it.

    A struct: one is made per request.
    """

    _client: Client | None
    _request: Request
    _heartbeat: Heartbeat | None = None
    _head: bytes = b""  # until the first of the body can go with it
    _chunked: bool = False
    _framed: bool = False  # the pieces are chunks already
    _streams: bool = False
    begun: bool = False

    # before it begins

    @property
    def wants_signs_of_life(self) -> bool:
        return asks_for_heartbeat(self._request)

    def unread_bytes(self) -> int:
        return 0 if self._client is None else self._client.unread_bytes()

    def waiting(self, *, streams: bool) -> None:
        interval = interval_of(self._request)
        if interval is not None and streams and self._heartbeat is None:
            self._heartbeat = Heartbeat(interval, self._say_that_it_waits)

    def placed(self) -> None: ...

    def _say_that_it_waits(self) -> None:
        client = self._client
        if client is None or client.write_paused:
            return
        if not self.begun:
            self._streams = True
            self._head, self._chunked = passing_head(
                self._request, 200, EVENT_STREAM, length=None, chunked=True, warnings=()
            )
            client.write(self._begin())
        client.write(chunk(COMMENT) if self._chunked else COMMENT)

    # what passes through as it comes

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
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if not self.begun:
            self._streams = streams
            self._head, self._chunked = passing_head(
                self._request,
                status,
                content_type,
                length=length,
                chunked=chunked,
                warnings=warnings,
            )
        elif not (chunked and content_type.startswith(EVENT_STREAM)):
            raise broken("it does not stream")
        self._framed = framed and self._chunked
        return self._framed

    def piece(self, data: bytes) -> None:
        if self._client is not None and data:
            if self._chunked and not self._framed:
                data = chunk(data)
            if not self.begun:
                self.begun, data = True, self._head + data
            self._client.write(data)

    def end(self) -> None:
        client = self._client
        if client is not None:
            last = LAST_CHUNK if self._chunked and not self._framed else b""
            if not self.begun:
                last = self._begin() + last
            if last:
                client.write(last)
            self._done(keep_alive=True)

    def _begin(self) -> bytes:
        """The head to send now."""
        self.begun = True
        return self._head

    # what is sent at once

    def whole(
        self, status: int, content_type: bytes, body: bytes, warnings: tuple[str, ...]
    ) -> None:
        if self._client is not None:
            request = self._request
            lines = request.response_lines()
            if warnings:
                lines += warning_lines(warnings)
            self._client.write(
                response(
                    status,
                    body,
                    content_type=content_type,
                    lines=lines,
                    keep_alive=request.keep_alive,
                )
            )
            self._done(keep_alive=True)

    def error(self, error: RunnerdError, *, intact: bool, warnings: tuple[str, ...]) -> None:
        client, request = self._client, self._request
        if client is None:
            return
        if not self.begun:
            lines = warning_lines(warnings) if warnings else b""
            client.write(error_response(request, error, request.keep_alive, lines))
            self._done(keep_alive=True)
            return
        # After a stream that ends as it should the connection goes on.
        told = self._streams and (intact or not self._framed)
        if told:
            event = request.error_event(error.body())
            client.write(chunk(event) + LAST_CHUNK if self._chunked else event)
        self._done(keep_alive=told and self._chunked)

    # the end

    def _done(self, *, keep_alive: bool) -> None:
        client, self._client = self._client, None
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if client is not None:
            client.exchange_done(keep_alive=keep_alive and self._request.keep_alive)

    def gone(self) -> None:
        self._client = None
        if self._heartbeat is not None:
            self._heartbeat.stop()
