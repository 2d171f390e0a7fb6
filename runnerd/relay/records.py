"""What happened to each inference request: the last thousand, in memory, without any content.

Content is kept beside the newest of them where an owner wants that (`capture`).

`X-Request-Origin` (seed 004) is recorded as the label that the client sent; it decides nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import field

from runnerd.observability.trace_context import TraceContext
from runnerd.relay import usage
from runnerd.relay.capture import Content
from runnerd.relay.usage import Usage

MOST_CAPTURED = 100
LEFT = "client disconnected"
LOAD = "load"  # the operation of a request that only loads its model
_UNTOLD = Usage()


class RequestRecord(msgspec.Struct, gc=False):
    """One inference request.  Times in seconds: `started_at` Unix time, the others since then.

    A struct: one is made per request.
    """

    id: str
    model: str
    operation: str
    origin: str | None
    user_agent: str | None
    streamed: bool
    bytes_in: int
    principal: str = ""  # whose it is, by id
    started_at: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    status: int = 0
    bytes_out: int = 0
    waited: float | None = None
    first_byte: float | None = None
    duration: float | None = None
    runner: str | None = None
    error: str | None = None
    counts: bytes | None = None  # where the engine told them; read when they are asked for
    content: Content | None = None
    tokens: Usage | None = None  # once they were read
    trace: TraceContext | None = None  # where traces are sent

    @property
    def usage(self) -> Usage:
        """The engine's counts of tokens."""
        if self.counts is None:
            return _UNTOLD
        if self.duration is None:  # more may be told
            return usage.read(self.counts) or _UNTOLD
        if self.tokens is None:
            self.tokens = usage.read(self.counts) or _UNTOLD
        return self.tokens

    def waits(self) -> float:
        """The seconds for which it has waited for a runner, so far."""
        if self.waited is not None:
            return self.waited
        return time.monotonic() - self.clock if self.duration is None else self.duration

    @property
    def left(self) -> bool:
        """Whether its client has left before the end."""
        return self.error == LEFT

    def is_of(self, model: str | None, whose: str | None) -> bool:
        """Whether it is for a model and a principal's, by their ids; None is any."""
        return model in (None, self.model) and whose in (None, self.principal)

    def to_json(self) -> dict[str, object]:
        """Return the record as the API shows it."""
        tokens = self.usage
        return {
            "id": self.id,
            "model": self.model,
            "operation": self.operation,
            "principal": self.principal,
            "origin": self.origin,
            "user_agent": self.user_agent,
            "streamed": self.streamed,
            "status_code": self.status,
            "timestamp": self.started_at,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "waited_seconds": self.waited,
            "first_byte_seconds": self.first_byte,
            "duration_seconds": self.duration,
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.generated,
            "cached_tokens": tokens.cached,
            "runner": self.runner,
            "error": self.error,
        }


class Records:
    """Keeps the newest records; older ones fall out."""

    def __init__(self, capacity: int = 1000) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=capacity)
        self._captured: deque[RequestRecord] = deque()
        self.add: Callable[[RequestRecord], None] = self._records.append
        """Takes a record; it may still be filled in."""

    def list(self, model: str | None = None, whose: str | None = None) -> list[RequestRecord]:
        """The records, oldest first, of one model id and one principal's id, or of all."""
        return [record for record in self._records if record.is_of(model, whose)]

    def newest(self) -> Iterator[RequestRecord]:
        """The records, newest first."""
        return reversed(self._records)

    def keep_content(self, record: RequestRecord, content: Content) -> None:
        """Keep the content of a record, and no longer that of the oldest of too many."""
        if len(self._captured) >= MOST_CAPTURED:
            self._captured.popleft().content = None
        record.content = content
        self._captured.append(record)

    def forget_content(self) -> None:
        """Keep no content any more."""
        while self._captured:
            self._captured.pop().content = None

    def captured(
        self, model: str | None = None, whose: str | None = None
    ) -> Sequence[RequestRecord]:
        """The finished requests whose content is here, oldest first."""
        return [
            record
            for record in self._captured
            if record.duration is not None and record.is_of(model, whose)
        ]
