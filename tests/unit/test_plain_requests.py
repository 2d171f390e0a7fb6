"""runnerd.relay.plain_requests: what is remembered of requests that are alike, and for how long.

That nothing of it outlives its reasons is tested over the wire (tests/integration).
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from runnerd.access import owner_principal, user_principal
from runnerd.backends.configuration import BackendMode
from runnerd.models.model import Model
from runnerd.relay.known_model import UNSEEN, known_model
from runnerd.relay.messages import Request
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.plain_requests import PlainRequests
from runnerd.relay.plan_making import plain_request, plan_request, same_plan
from runnerd.relay.routes import Route, find
from runnerd.relay.serving_runners import ServingRunner
from runnerd.relay.token_time import TokenTime
from runnerd.scheduler import RunnerKey

PATH = "/v1/embeddings"
WHO = owner_principal(0)
WEBP = "data:image/webp;base64,UklGRiIAAABXRUJQVlA4TAAAAAAA"


class Daemon:
    """Policy, models and planner as they are now; a test changes them."""

    def __init__(self, *, capabilities: tuple[str, ...] = ("embedding",)) -> None:
        self.now: dict[str, Any] = {"rights": object(), "catalog": object(), "revision": 1}
        self.unsupported: str | None = None
        described = replace(UNSEEN.description, capabilities=capabilities)
        self.model: Model = replace(UNSEEN, description=described)
        self.backend: Any = SimpleNamespace(
            streams_to_cancel=True,
            uses_external_model_management=False,
            unsupported_reason=lambda operation, mode: self.unsupported,
        )
        self.found = ServingRunner(
            self.model, "sha256:0", 1, self.backend, BackendMode.EMBEDDING,
            RunnerKey("llama.cpp", "load", BackendMode.EMBEDDING, ""), False,
            known_model(self.model), None, None, {},
        )  # fmt: skip
        self.plain = PlainRequests(cast(Any, self), cast(Any, self), cast(Any, self))

    def rights(self, principal: object) -> object:
        return self.now["rights"]

    def catalog(self) -> object:
        return self.now["catalog"]

    def model_named(self, *asked: object) -> Model:
        return self.model

    @property
    def keys(self) -> Any:
        return SimpleNamespace(revision=self.now["revision"])

    @property
    def serving(self) -> Any:
        return SimpleNamespace(find=lambda *asked: self.found)


def route() -> Route:
    found = find(PATH)
    assert found is not None
    return found


def asked(background: bool = False) -> Request:
    request = Request("POST", PATH.encode(), PATH, [], True, True, None, False, "id")
    request.background = background
    return request


def read(text: str = "a") -> ParsedRequest:
    return parse(json.dumps({"model": "m", "input": text}).encode())


def planned(daemon: Any, way: Route | None = None, *, priority: int = 0) -> None:
    """Have a request planned, as `intake` does."""
    way, request, body = way or route(), asked(), read()
    plain = plain_request(way.operation, body, daemon.found, request)
    assert plain is not None
    daemon.found.plans[plain] = plan_request(way.operation, body, daemon.found, request, None)
    daemon.plain.note(body, daemon.model_before, request, way, WHO, priority)


@pytest.fixture
def daemon() -> Any:
    return made()


def made(**said: Any) -> Any:
    daemon: Any = Daemon(**said)
    daemon.model_before = daemon.model
    # The three parts in one have one name for two things.
    daemon.plain._named_models = SimpleNamespace(catalog=daemon.catalog, model=daemon.model_named)
    return daemon


def test_the_next_one_is_planned_like_it(daemon: Any) -> None:
    """With its own text, and the priority of who asks; others are planned themselves."""
    assert daemon.plain.plan(read(), asked(), route(), WHO) is None
    planned(daemon, priority=3)
    plan = daemon.plain.plan(read("other"), asked(), route(), WHO)
    assert (plan.body, plan.priority) == ((read("other").body,), 3)
    assert daemon.plain.plan(read(), asked(), route(), user_principal("u", "k")) is None
    assert daemon.plain.plan(read(), asked(background=True), route(), WHO) is None


@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("seconds", [None, 0.001])
@pytest.mark.parametrize("said", [{}, {"max_tokens": 1}, {"max_tokens": 9}, {"stream": True}])
def test_it_is_what_a_plan_of_its_own_would_be(
    daemon: Any, path: str, seconds: float | None, said: dict[str, Any]
) -> None:
    """Also in whether it is read as a stream and may take long, which depends on the moment."""
    way = find(path)
    assert way is not None
    time = TokenTime()
    time.seconds = seconds
    found = daemon.found._replace(token_time=time)
    more: dict[str, Any] = {"input": "a"} if path == PATH else {"messages": []}
    body = parse(json.dumps({"model": "m", **more, **said}).encode())
    own = plan_request(way.operation, body, found, asked(), None)
    same = same_plan(msgspec.structs.replace(own, long=not own.long, body=()), body)
    assert plain_request(way.operation, body, found, asked()) == (
        own.streams, own.assembles, own.preload_only, own.origin,
    )  # fmt: skip
    assert (same.long, same.streams, same.assembles) == (own.long, own.streams, own.assembles)
    assert b"".join(same.body) == b"".join(own.body)


@pytest.mark.parametrize("what", ["rights", "catalog", "revision"])
def test_what_it_follows_from(daemon: Any, what: str) -> None:
    """Where one of these is another one, a plan is made anew."""
    planned(daemon)
    daemon.now[what] = 2
    assert daemon.plain.plan(read(), asked(), route(), WHO) is None


def test_what_depends_on_the_moment(daemon: Any) -> None:
    """An engine that cannot do it any more is asked of at each request."""
    planned(daemon)
    daemon.unsupported = "install another one"
    assert daemon.plain.plan(read(), asked(), route(), WHO) is None


@pytest.mark.parametrize("sees", [False, True])
def test_images_that_have_to_be_transcoded(sees: bool) -> None:
    """They are, also where the requests before had none."""
    daemon = made(capabilities=("embedding", "vision") if sees else ("embedding",))
    planned(daemon)
    assert daemon.plain.plan(read(), asked(), route(), WHO) is not None
    assert (daemon.plain.plan(read(WEBP), asked(), route(), WHO) is None) is sees


def test_what_is_not_remembered(daemon: Any) -> None:
    """A runner's own path, a backend that knows its models itself, a model that was replaced."""
    planned(daemon, replace(route(), runner="r"))
    assert daemon.plain.plan(read(), asked(), route(), WHO) is None
    daemon.backend.uses_external_model_management = True
    planned(daemon)
    assert daemon.plain.plan(read(), asked(), route(), WHO) is None
    daemon.backend.uses_external_model_management = False
    daemon.model = replace(daemon.model, tags=("ai/other",))
    planned(daemon)
    assert daemon.plain.plan(read(), asked(), route(), WHO) is None
    daemon.model = daemon.model_before
    planned(daemon)
    assert daemon.plain.plan(read(), asked(), route(), WHO) is not None
