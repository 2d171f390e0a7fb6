"""Which trace a request belongs to, its client's or one of its own, and what is told of it there.

A client says so in the header `traceparent` (W3C Trace Context).  What it says wrong is ignored, as
the standard asks: the request begins a trace of its own then.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from runnerd.observability.request_figures import EndedRequest

_HEADER = b"traceparent"
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-[!-~]*)?"
)
_LONGEST = 256  # bytes of a header: a version to come may say more than ours, which has 55
_SAMPLED = 1


class TraceContext(NamedTuple):
    """The trace, the client's span in it (None: the trace is the request's own), and whether the
    client wants it recorded.
    """

    trace_id: int
    parent: int | None = None
    sampled: bool = True

    @property
    def text(self) -> str:
        """The trace's id as it is written everywhere."""
        return f"{self.trace_id:032x}"


class TracedRequest(EndedRequest, Protocol):
    """What a span tells of a request; times in seconds."""

    @property
    def id(self) -> str: ...
    @property
    def started_at(self) -> float: ...
    @property
    def runner(self) -> str | None: ...
    @property
    def user_agent(self) -> str | None: ...
    @property
    def left(self) -> bool: ...
    @property
    def trace(self) -> TraceContext | None: ...


def trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext:
    """The trace of a request with these headers, whose names are in lower case."""
    said = [value for name, value in headers if name == _HEADER]
    found = _read(said[0]) if len(said) == 1 else None
    return found or TraceContext(random.getrandbits(128) or 1)


def _read(value: bytes) -> TraceContext | None:
    if len(value) > _LONGEST:
        return None
    match = _TRACEPARENT.fullmatch(value)
    if match is None or match["version"] == b"ff":
        return None
    if match["version"] == b"00" and match["more"] is not None:
        return None
    trace_id, parent = int(match["trace"], 16), int(match["span"], 16)
    if not trace_id or not parent:
        return None
    return TraceContext(trace_id, parent, bool(int(match["flags"], 16) & _SAMPLED))
