"""How another API is spoken on the relay: its request in, its answer out, both as they come.

A dialect translates at the edge and nothing else: limits, lease, cancellation, accounting and flow
control are the relay's, the same for every dialect.  The implementations lie above the relay (api/)
and are handed in by the composition root, as routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runnerd.relay.body import Body


class Translation(Protocol):
    """One answer's way from the engine to the client."""

    @property
    def content_type(self) -> bytes: ...

    @property
    def streams(self) -> bool:
        """Whether what `feed` returns goes out as it comes; else `end` returns the whole answer."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the engine's answer; return what the client gets now.

        Raises events.StreamError.
        """
        ...

    def end(self) -> bytes:
        """Return what comes last.  Raises events.StreamError where something is missing."""
        ...


@dataclass(slots=True)
class Limit:
    """How many tokens an answer may have: what the request says, until the planner knows what owner
    and maker of the model say.  None: nobody does.
    """

    tokens: int | None


Retry = Callable[[dict[str, Any]], bytes | None]


@dataclass(frozen=True, slots=True)
class TranslatedRequest:
    """What a request asks for, in the engine's terms.

    `body` is the engine's request, with the name that the client gave the model.  With `instead`
    the engine is not asked: this is the answer once the model is loaded or, with `unloads`, once it
    is not.  `opened` says that the conversation begins as the model's maker wants it; else that is
    put in.  `limit` is for who has to know whether an answer was cut.
    """

    operation: str
    body: bytes
    translation: Translation
    keep_alive: float | None = None
    immediate: bytes | None = None
    unloads: bool = False
    retry_with: Retry | None = None
    warnings: tuple[str, ...] = ()
    context: int | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)
    has_prefix: bool = False
    limit: Limit | None = None


class Dialect(Protocol):
    """One route of another API."""

    @property
    def origin(self) -> str | None:
        """What the engine and the records are told as the request's origin; None: its header."""
        ...

    @property
    def shapes_errors(self) -> bool:
        """Whether errors have a shape of their own (`error`, `broken`) instead of OpenAI's."""
        ...

    @property
    def id_header(self) -> bytes | None:
        """The header by which this API's clients know a request's id, beside X-Request-Id; only of
        dialects that shape errors.
        """
        ...

    def read(self, body: Body) -> TranslatedRequest:
        """Return what a request asks for.  Raises errors.ClientError."""
        ...

    def read_unseen(self, body: Body) -> TranslatedRequest:
        """Return the same of a request for a model that is not here, as far as it can be told.

        It is what a request is judged by before its model is pulled.  Raises errors.ClientError.
        """
        ...

    def error(self, message: str, status: int) -> bytes:
        """Return the body of an error."""
        ...

    def broken(self, message: str) -> bytes:
        """Return what tells an error inside a stream that has begun."""
        ...
