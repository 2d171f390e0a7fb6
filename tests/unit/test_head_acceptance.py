"""runnerd.relay.head_acceptance: what a head begins, what it is refused for, what is remembered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.access import NOBODY, Principal, user_principal
from runnerd.errors import (
    ClientError,
    PayloadTooLarge,
    PermissionMissing,
    RunnerdError,
    Unauthorized,
    UnsupportedMediaType,
)
from runnerd.limit_settings import Limits
from runnerd.relay import routes
from runnerd.relay.admission import Admission
from runnerd.relay.head_acceptance import HeadAcceptance
from runnerd.relay.http_reader import Head, HttpReader
from runnerd.relay.messages import Request
from runnerd.relay.pipelined_request import PipelinedRequest
from runnerd.relay.request_head_cache import RequestHeadCache

USER = user_principal("u", "k")
JSON = "Content-Type: application/json"


class Relay:
    """Lets in whoever has the key `right`, and nobody where `forbidden`."""

    limits = Limits(body_bytes=100)
    admission = Admission()

    def __init__(self) -> None:
        self.forbidden = False
        self.asked: list[Principal] = []

    def authenticate(self, secret: str) -> Principal | None:
        if secret != "right":
            raise Unauthorized("this key does not count")
        return USER

    def authorize(self, request: Request, route: routes.Route, principal: Principal) -> None:
        self.asked.append(principal)
        if self.forbidden:
            raise PermissionMissing("you may not", permission="session")

    def route(self, path: str) -> routes.Route | None:
        return routes.find(path)


def accept(relay: Relay, cache: RequestHeadCache, line: str, *headers: str) -> PipelinedRequest:
    connection = SimpleNamespace(principal=lambda forwarded_for: NOBODY)
    heads = HeadAcceptance(cast(Any, relay), cast(Any, connection), cache, unix=False)
    data = "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + b"{}"
    reader = HttpReader(relay.limits, cache)
    head = next(event for event in reader.feed(data) if isinstance(event, Head))
    reader.close()
    return heads.accept(head)


def test_an_inference_request_has_its_route_and_is_remembered() -> None:
    """The policy was asked with whoever is at the other end, or whose key it shows."""
    relay, cache = Relay(), RequestHeadCache()
    headers = JSON, "Content-Length: 2"
    entry = accept(relay, cache, "POST /v1/completions", *headers)
    assert entry.error is None
    assert entry.route == routes.find("/v1/completions")
    again = "\r\n".join(["POST /v1/completions HTTP/1.1", "Host: localhost", *headers, "", "{}"])
    assert cache.find(again.encode()) is not None
    accept(relay, cache, "POST /v1/completions", *headers, "Authorization: Bearer right")
    assert relay.asked == [NOBODY, USER]


def test_what_is_no_inference_has_no_route() -> None:
    """Its policy is asked behind, and nothing of its body is looked at here."""
    relay, cache = Relay(), RequestHeadCache()
    for line in ("GET /v1/completions", "POST /models/create"):
        entry = accept(relay, cache, line, "Content-Length: 1000000")
        assert (entry.route, entry.error) == (None, None)
    assert relay.asked == []


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ((JSON, "Content-Length: 101"), PayloadTooLarge),
        (("Content-Type: text/html", "Content-Length: 2"), UnsupportedMediaType),
        ((JSON, "Content-Length: 2", "Content-Encoding: gzip"), UnsupportedMediaType),
        ((JSON,), ClientError),
        ((JSON, "Content-Length: 2", "Authorization: Bearer wrong"), Unauthorized),
    ],
)
def test_a_refusal_is_kept_with_the_request(
    headers: tuple[str, ...], error: type[RunnerdError]
) -> None:
    """It is told in the request's turn, and the head is not remembered."""
    relay, cache = Relay(), RequestHeadCache()
    entry = accept(relay, cache, "POST /v1/completions", *headers)
    refused = entry.error or entry.request.unauthorized
    assert isinstance(refused, error)
    assert refused.__traceback__ is None
    assert cache._heads == {}


def test_who_may_not_ask_is_not_asked_for_a_body() -> None:
    """The permission is missing before anything is held against the rules for bodies."""
    relay, cache = Relay(), RequestHeadCache()
    relay.forbidden = True
    entry = accept(relay, cache, "POST /v1/completions", "Content-Length: 101")
    assert isinstance(entry.error, PermissionMissing)
