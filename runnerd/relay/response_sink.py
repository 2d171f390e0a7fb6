"""Where the response to one exchange goes: to a client over HTTP, or to somebody in the daemon.

An exchange speaks to its sink in terms of a response and knows nothing of what is behind it.  The
other way round a sink's owner tells the exchange to `pause`, to `resume`, or to `cancel`.
"""

from __future__ import annotations

from typing import Protocol

from runnerd.errors import RunnerdError


class ResponseSink(Protocol):
    """Takes one response: `head`, `piece`s and `end`, or `whole`, or `error`; nothing after that.

    `warnings` are sentences about the request that a response is told with.
    """

    @property
    def begun(self) -> bool:
        """Whether the response has begun; then an error is told inside it."""
        ...

    @property
    def wants_signs_of_life(self) -> bool:
        """Whether something is to be said while the exchange waits."""
        ...

    def unread_bytes(self) -> int:
        """How much of the response whoever gets it has still to take, as far as that is known."""
        ...

    def waiting(self, *, streams: bool) -> None:
        """The exchange waits for something, perhaps for long; `streams`: the response will be a
        stream of events.  Raises errors.ClientError where what it says of a heartbeat is not valid.
        """
        ...

    def placed(self) -> None:
        """The exchange has a runner, and waits for that no more."""
        ...

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
        """The response begins; its body has `length` bytes, where that is known.

        `chunked`: its end will be told, else it ends with the engine's connection.  `framed`: the
        pieces can be had in HTTP's chunks, as the engine sends them; returns whether that is
        wanted.  `streams`: it is a stream, in which an error can be told.  Raises
        errors.BackendFailure where this cannot be the response that has begun.
        """
        ...

    def piece(self, data: bytes) -> None:
        """The next bytes of the body."""
        ...

    def end(self) -> None:
        """The response is complete."""
        ...

    def whole(
        self, status: int, content_type: bytes, body: bytes, warnings: tuple[str, ...]
    ) -> None:
        """A response in one piece."""
        ...

    def error(self, error: RunnerdError, *, intact: bool, warnings: tuple[str, ...]) -> None:
        """There will be no response, or no more of it.  `intact`: the pieces so far end where a
        chunk ends, if they were framed.
        """
        ...

    def gone(self) -> None:
        """Nobody wants the response any more."""
        ...
