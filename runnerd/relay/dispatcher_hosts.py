"""What the requests of a connection need: of the connection, and of what all connections share."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from runnerd.access import Principal
from runnerd.limit_settings import Limits
from runnerd.relay.admission import Admission
from runnerd.relay.authentication import Authenticate
from runnerd.relay.body_budget import BodyBudget
from runnerd.relay.control_plane_bridge import BridgeHost
from runnerd.relay.exchange import Exchange
from runnerd.relay.messages import Request
from runnerd.relay.response_sink import ResponseSink
from runnerd.relay.routes import Route


class Connection(BridgeHost, Protocol):
    """The connection's side of its requests."""

    reading_ended: bool
    """Nothing further is read; the connection ends after the response."""
    write_paused: bool
    """The client does not keep up."""

    @property
    def is_open(self) -> bool: ...

    def write(self, data: bytes) -> None:
        """Send bytes to the client, if it is still there."""
        ...

    def expect(self) -> None:
        """Set the deadline that fits what is expected next of the client."""
        ...

    def expect_nothing(self) -> None:
        """It is our turn: no deadline."""
        ...

    def hang_up(self, *, linger: bool) -> None:
        """Read nothing further and close; `linger` while the client may still be sending."""
        ...


class RelayHost(Protocol):
    """What all connections share."""

    limits: Limits
    admission: Admission
    bodies: BodyBudget
    draining: bool

    @property
    def control_plane(self) -> web.Server:
        """aiohttp's server, for requests that are not inference."""
        ...

    def route(self, path: str) -> Route | None:
        """Return the inference route of a path, in whichever dialect."""
        ...

    @property
    def authenticate(self) -> Authenticate:
        """Says who has a key."""
        ...

    def authorize(self, request: Request, route: Route, principal: Principal) -> None:
        """Refuse what the head says that its principal may not.  Raises errors of the 4xx kind."""
        ...

    def exchange(
        self, sink: ResponseSink, request: Request, route: Route, principal: Principal
    ) -> Exchange:
        """Check a complete inference request and return its exchange, not yet started.

        Raises errors of the 4xx kind.
        """
        ...
