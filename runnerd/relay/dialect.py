"""How another API is spoken on the relay: its request in, its response out, both as they come.

A dialect translates at the edge and nothing else: limits, capabilities, lease, cancellation,
accounting and flow control are the relay's, the same for every dialect.  The implementations lie
above the relay (api/) and are handed in by the composition root, as routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runnerd.access import Principal
from runnerd.models.model import Model
from runnerd.relay.body import Body
from runnerd.relay.operations import Operation


class AskedAgain(Exception):
    """What the engine responds is not what was hoped for, or not all: the plan's next question is
    asked.  What has gone to the client is the beginning of what the next one responds.
    """


class Translation(Protocol):
    """One response's way from the engine to the client."""

    @property
    def content_type(self) -> bytes: ...

    @property
    def streams(self) -> bool:
        """Whether what `feed` returns goes out as it comes; else `end` returns the whole body."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the engine's response; return the bytes that the client gets now.

        Raises events.StreamError, and AskedAgain where a plan says what is asked then.
        """
        ...

    def end(self) -> bytes:
        """The last bytes.  Raises events.StreamError where something is missing."""
        ...


@dataclass(slots=True)
class Limit:
    """How many tokens a response may have: what the request says, until the planner knows what
    owner and maker of the model say.  None: nobody does.
    """

    tokens: int | None


BeforeEnd = Callable[[], Awaitable[None]]
Retry = Callable[[dict[str, Any]], bytes | None]


@dataclass(frozen=True, slots=True)
class TranslatedRequest:
    """A request of another API in the engine's terms.

    `body` is what the engine is asked, with the name that the client gave the model.  The model has
    to be capable of all that `needs` names, which the planner judges.  With `immediate` the engine
    is not asked: this is the response once the model is loaded or, with `unloads`, once it is not.
    `has_prefix` says that the conversation begins as the model's maker wants it; else that is put
    in.  `limit` is for who has to know whether a response was cut, `context` a size in tokens that
    is asked for.  `before_end` is carried out between the engine's last byte and the response's:
    what the response says of itself is true then.
    """

    operation: Operation
    body: Body
    translation: Translation
    needs: tuple[str, ...] = ()
    keep_alive: float | None = None
    immediate: bytes | None = None
    unloads: bool = False
    retry_with: Retry | None = None
    warnings: tuple[str, ...] = ()
    context: int | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)
    has_prefix: bool = False
    limit: Limit | None = None
    before_end: BeforeEnd | None = None


class ForeignRequest(Protocol):
    """A request of another API that was read: it names a model, and can be translated for it."""

    @property
    def reference(self) -> str:
        """The model's name, as the store knows it."""
        ...

    def translated(self, model: Model) -> TranslatedRequest:
        """The request in the engine's terms.  Raises errors.ClientError."""
        ...


@dataclass(frozen=True, slots=True)
class UnreadyRequest:
    """A request that was read and refers to what is not in memory; `gather` reads that, too.

    `gather` raises errors of the 4xx kind, and errors.DatabaseFailure.
    """

    streams: bool
    gather: Callable[[], Awaitable[ForeignRequest]]


class Dialect(Protocol):
    """One route of another API."""

    @property
    def origin(self) -> str | None:
        """What the engine and the records are told as the request's origin; None: its header."""
        ...

    def read(self, body: Body, principal: Principal) -> ForeignRequest | UnreadyRequest:
        """Decode a request's body, of what this principal asks.  Raises errors.ClientError."""
        ...
