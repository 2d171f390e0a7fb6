"""The answer to one request, as its client gets it: head, body, errors in their place.

An error before the first byte is an answer with a status; after it, it is an event of the stream.
"""

from __future__ import annotations

from typing import Any

from runnerd.access import NOBODY, Principal
from runnerd.errors import RunnerdError
from runnerd.relay.events import EVENT_STREAM
from runnerd.relay.exchange_context import Client
from runnerd.relay.messages import LAST_CHUNK, Request, answer, chunk, error_response, passing_head
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.response_parser import ResponseHead
from runnerd.relay.sse_heartbeat import COMMENT, Heartbeat, interval_of


class ResponseWriter:
    """Writes to the client until `done`, or until it has `gone`; then it writes nothing.

    `begun` says that something was sent, `chunked` that its body is in chunks, `status` what the
    engine's own answer has, 0 before it came.  `plan` is set as soon as there is one, and `paused`
    while the client does not keep up.
    """

    __slots__ = (
        "_client", "_head", "_heartbeat", "_record", "_request", "begun", "chunked", "paused",
        "plan", "status",
    )  # fmt: skip

    def __init__(self, client: Client, request: Request, record: RequestRecord) -> None:
        self._client: Client | None = client
        self._request = request
        self._record = record
        self._heartbeat: Heartbeat | None = None
        self._head = b""  # until the first of the body can go with it
        self.begun = False
        self.chunked = False
        self.paused = False
        self.status = 0
        self.plan: Plan | None = None

    @property
    def wanted(self) -> bool:
        """Whether the client is still there."""
        return self._client is not None

    @property
    def pinged(self) -> bool:
        """Whether its client is one that a heartbeat was begun for."""
        return self._heartbeat is not None

    def principal(self) -> Principal:
        """Who makes the request; nobody when the client has gone."""
        return NOBODY if self._client is None else self._client.principal()

    # what passes through as it comes

    def prepare(self, head: ResponseHead) -> None:
        """Make the head of an answer whose body passes through as it comes."""
        self._head, self.chunked = passing_head(
            self._request,
            head.status,
            head.content_type,
            length=head.length,
            chunked=head.chunked,
            lines=self._lines(),
        )

    def pass_on(self, data: bytes) -> None:
        """Send bytes that are framed as the client wants them."""
        if self._client is not None:
            self._record.bytes_out += len(data)
            self._client.write(data if self.begun else self._begin() + data)

    def send_piece(self, data: bytes) -> None:
        """Send a piece of the body, in a chunk where it is in chunks."""
        if data and self._client is not None:
            self._record.bytes_out += len(data)
            head = b"" if self.begun else self._begin()
            self._client.write(head + (chunk(data) if self.chunked else data))

    def send_head(self) -> None:
        """Send the head of an answer without a body, unless it was sent."""
        if self._client is not None and not self.begun:
            self._client.write(self._begin())

    def send_last_chunk(self) -> None:
        """End a body in chunks."""
        if self._client is not None and self.chunked:
            self._client.write(LAST_CHUNK)

    def _begin(self) -> bytes:
        """Return the head to send now."""
        self.begun = True
        self._record.status = self.status
        return self._head

    def _lines(self) -> bytes:
        """Return the header lines beside framing and type."""
        lines = self._request.response_lines()
        return lines if self.plan is None else lines + self.plan.response_lines()

    # what is sent at once

    def send_whole(self, status: int, body: bytes, content_type: bytes) -> None:
        """Send a whole answer."""
        self._record.status = status
        self._record.bytes_out += len(body)
        if self._client is not None:
            self._client.write(
                answer(
                    status,
                    body,
                    content_type=content_type,
                    lines=self._lines(),
                    keep_alive=self._request.keep_alive,
                )
            )

    def send_error(self, error: RunnerdError) -> None:
        """Send an error as the whole answer."""
        if self._client is not None:
            self._record.status = error.status
            keep_alive = self._request.keep_alive
            self._client.write(error_response(self._request, error, keep_alive=keep_alive))

    def send_error_event(self, document: dict[str, Any]) -> None:
        """End a stream that has begun with an error."""
        if self._client is not None:
            event = self._request.error_event(document)
            self._client.write(chunk(event) + LAST_CHUNK if self.chunked else event)

    # signs of life

    def start_heartbeat(self, *, streams: bool) -> None:
        """Let a streamed request that asks for it hear that it still waits."""
        interval = interval_of(self._request)
        if interval is not None and streams and self._heartbeat is None:
            self._heartbeat = Heartbeat(interval, self._ping)

    def stop_heartbeat(self) -> None:
        """The wait is over.  Idempotent."""
        if self._heartbeat is not None:
            self._heartbeat.stop()

    def _ping(self) -> None:
        if self._client is None or self.paused:
            return
        if not self.begun:
            self.prepare(ResponseHead(200, EVENT_STREAM, None, chunked=True, keeps=True))
            self._client.write(self._begin())
            self._record.status = 200
        self._client.write(chunk(COMMENT) if self.chunked else COMMENT)

    # the end

    def done(self, *, keep_alive: bool) -> None:
        """The answer is complete; without `keep_alive` the connection cannot go on."""
        client, self._client = self._client, None
        if client is not None:
            client.exchange_done(keep_alive=keep_alive and self._request.keep_alive)

    def gone(self) -> None:
        """The client has gone."""
        self._client = None
