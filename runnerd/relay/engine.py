"""The relay's side of a connection to an engine: one request out, one answer in.

The engine is ours but its bytes are not trusted: heads are bounded, framing is checked by llhttp,
and only the content type of its head survives; everything else that a client sees is the relay's
own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

import httptools

log = logging.getLogger(__name__)

_HEAD_LIMIT = 64 * 2**10


class AnswerReceiver(Protocol):
    """Who gets the engine's answer.  Nothing comes after `engine_done` or `engine_lost`."""

    def engine_head(self, status: int, content_type: bytes, length: int | None) -> None: ...
    def engine_body(self, data: bytes) -> None: ...
    def engine_done(self) -> None: ...
    def engine_lost(self, reason: str) -> None: ...


class EngineConnection(asyncio.Protocol):
    """Carries one exchange.  The engine closes a connection after a stream, so none is kept."""

    def __init__(self, receiver: AnswerReceiver) -> None:
        self._receiver: AnswerReceiver | None = receiver
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._content_type = b"application/json"
        self._length: int | None = None
        self._framed = False
        self._head_bytes = 0
        self._in_body = False

    # the relay's side

    def send(self, parts: list[bytes]) -> None:
        """Send the request."""
        assert self._transport is not None
        self._transport.writelines(parts)

    def pause(self) -> None:
        """Stop reading: the client does not keep up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once: the engine sees the close and stops generating."""
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclasses of asyncio's.
        transport = self._transport = cast(asyncio.Transport, transport)
        if self._receiver is None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT and len(data) < _HEAD_LIMIT:
                self._lose("its answer has an endless head")
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            log.exception("an engine's answer could not be handled")
            self._lose("its answer could not be handled")
        except httptools.HttpParserError:
            self._lose("its answer is not HTTP")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._in_body and not self._framed and exc is None:
            self._finish()  # the end of the connection is the end of the body
        else:
            self._lose("it closed the connection" if exc is None else str(exc))

    # llhttp's side

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self._content_type = value
        elif name == b"content-length":
            self._length = int(value) if value.isdigit() else None
            self._framed = True
        elif name == b"transfer-encoding":
            self._framed = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; llhttp goes on with the real one
            self._content_type, self._length, self._framed = b"application/json", None, False
            return
        self._in_body = True
        if self._receiver is not None:
            self._receiver.engine_head(status, self._content_type, self._length)

    def on_body(self, body: bytes) -> None:
        if self._receiver is not None:
            self._receiver.engine_body(body)

    def on_message_complete(self) -> None:
        if self._in_body:
            self._finish()

    def _finish(self) -> None:
        receiver, self._receiver = self._receiver, None
        if self._transport is not None:
            self._transport.close()
        if receiver is not None:
            receiver.engine_done()

    def _lose(self, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        if self._transport is not None:
            self._transport.abort()
        if receiver is not None:
            receiver.engine_lost(reason)
