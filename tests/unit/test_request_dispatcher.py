"""The requests of a connection, without a socket: memory of bodies, order, refusals."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runnerd.access import NOBODY, Principal, user_principal
from runnerd.errors import PermissionMissing
from runnerd.limit_settings import Limits
from runnerd.relay import routes
from runnerd.relay.admission import Admission
from runnerd.relay.body_budget import BodyBudget
from runnerd.relay.http_reader import HttpReader
from runnerd.relay.http_response import Client, HttpResponse
from runnerd.relay.messages import Request
from runnerd.relay.request_dispatcher import RequestDispatcher
from runnerd.relay.request_head_cache import RequestHeadCache

HEAD = (
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"X-Request-Id: %d\r\nContent-Length: %d\r\n\r\n"
)


USER = user_principal("u", "k")


class Connection:
    """Keeps what is written, and whether it was hung up on."""

    def __init__(self) -> None:
        self.reading_ended = False
        self.write_paused = False
        self.is_open = True
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def principal(self, forwarded_for: str) -> Principal:
        return NOBODY

    def expect(self) -> None: ...

    def expect_nothing(self) -> None: ...

    def resume_reading(self) -> None: ...

    def hang_up(self, *, linger: bool) -> None:
        self.reading_ended = True
        self.is_open = False


class StartedExchange:
    """An exchange that was started; the test answers it."""

    def __init__(self, client: Client, request: Request) -> None:
        self.client = client
        self.id = request.id
        self.cancelled = False
        self.enforced: list[Principal] = []

    def start(self) -> None: ...

    def enforce(self, principal: Principal) -> None:
        self.enforced.append(principal)

    def cancel(self) -> None:
        self.cancelled = True


class Relay:
    """Counts the bytes of bodies, and keeps the exchanges."""

    limits = Limits(body_bytes=100, buffered_bytes=150)
    admission = Admission()
    draining = False

    def authenticate(self, secret: str) -> Principal:
        return USER

    def authorize(self, request: Request, route: routes.Route, principal: Principal) -> None:
        if self.forbidden:
            raise PermissionMissing("you may not", permission="session")

    forbidden = False

    def __init__(self) -> None:
        self.bodies = BodyBudget(self.limits)
        self.exchanges: list[StartedExchange] = []

    def route(self, path: str) -> routes.Route | None:
        return routes.find(path)

    def exchange(
        self, sink: HttpResponse, request: Request, route: routes.Route, principal: Principal
    ) -> Any:
        self.exchanges.append(StartedExchange(cast(Client, sink._client), request))
        return self.exchanges[-1]


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def connection() -> Connection:
    return Connection()


def take(relay: Relay, connection: Connection, data: bytes) -> RequestDispatcher:
    """Return the dispatcher of a connection that has received `data`."""
    cache = RequestHeadCache()
    dispatcher = RequestDispatcher(cast(Any, connection), cast(Any, relay), cache, unix=False)
    reader = HttpReader(relay.limits, cache)
    for event in reader.feed(data):
        dispatcher.take(event)
    reader.close()
    return dispatcher


def message(number: int, size: int) -> bytes:
    return HEAD % (number, size) + b"x" * size


def test_one_after_the_other(relay: Relay, connection: Connection) -> None:
    """The next request is begun when the one before it is answered; bodies are let go."""
    dispatcher = take(relay, connection, b"".join(message(n, 40) for n in range(3)))
    assert relay.bodies.held == 120
    for number in range(3):
        assert [exchange.id for exchange in relay.exchanges] == [str(n) for n in range(number + 1)]
        assert len(dispatcher.queue) == 2 - number
        relay.exchanges[-1].client.exchange_done(keep_alive=True)
    assert relay.bodies.held == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (message(1, 101), b"413"),
        (b"".join(message(n, 60) for n in range(3)), b"429"),
        (message(1, 10) + b"GARBAGE\r\n\r\n" + message(2, 10), b"400"),
    ],
    ids=["too large", "too many bytes in memory", "no request"],
)
def test_a_refusal_is_the_last_response(
    relay: Relay, connection: Connection, data: bytes, status: bytes
) -> None:
    """What was asked before it is answered first, and all memory is given back."""
    take(relay, connection, data)
    while relay.exchanges:
        relay.exchanges.pop(0).client.exchange_done(keep_alive=True)
    assert connection.written.count(b"HTTP/1.1 ") == 1
    assert connection.written.startswith(b"HTTP/1.1 " + status)
    assert connection.reading_ended
    assert relay.bodies.held == 0


@pytest.mark.parametrize("cut", [1, 20, 180, 220, 300])
def test_the_client_leaves(relay: Relay, connection: Connection, cut: int) -> None:
    """At any moment: what is asked is cancelled and no byte of a body is counted any more."""
    data = b"".join(message(n, 40) for n in range(3))
    dispatcher = take(relay, connection, data[:-cut])
    dispatcher.lost(None)
    assert relay.bodies.held == 0
    assert all(exchange.cancelled for exchange in relay.exchanges)


def test_what_is_under_way_is_looked_at_again(relay: Relay, connection: Connection) -> None:
    """A user's request whenever it is asked, another one's only where rules for peers changed."""
    shown = HEAD.replace(b"Host:", b"x-api-key: k\r\nHost:") % (1, 1) + b"x"
    for data, principal in ((shown, USER), (message(2, 1), NOBODY)):
        dispatcher = take(relay, connection, data)
        dispatcher.enforce(peers=False)
        dispatcher.enforce(peers=True)
        expected = 2 if principal is USER else 1
        assert relay.exchanges[-1].enforced == [principal] * expected


def test_a_body_that_nobody_may_send_any_more(relay: Relay, connection: Connection) -> None:
    """It is refused while it arrives, and let go."""
    shown = HEAD.replace(b"Host:", b"x-api-key: k\r\nHost:") % (1, 50) + b"x" * 20
    dispatcher = take(relay, connection, shown)
    assert relay.bodies.held == 20
    relay.forbidden = True
    dispatcher.enforce(peers=False)
    assert b" 403 " in connection.written
    assert relay.bodies.held == 0
    assert not relay.exchanges
