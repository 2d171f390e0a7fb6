"""runnerd.relay.planner: how often a body is looked at, and what is remembered of a plan."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from runnerd.access import NOBODY
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ModelConfiguration
from runnerd.limit_settings import Limits
from runnerd.relay import body_inspection, planner
from runnerd.relay.body_scan import check_weight, is_heavy
from runnerd.relay.known_model import UNSEEN
from runnerd.relay.messages import Request
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.plan import Plan
from runnerd.relay.planner import Planner
from runnerd.relay.routes import find
from runnerd.relay.translations import PASSED
from runnerd.scheduler import RunnerKey


@pytest.mark.parametrize(("more", "times"), [(b"", 1), (b',"stop":null', 2)])
def test_a_heavy_body_is_weighed_once(
    more: bytes, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again only where something was taken out of it."""
    weighed = []

    def counted(body: bytes, depth: int) -> None:
        weighed.append(len(body))
        check_weight(body, depth)

    for module in (planner, body_inspection):
        monkeypatch.setattr(module, "check_weight", counted)
    body = b'{"model":"m","prompt":"%s"%s}' % (b"x" * 2**19, more)
    assert is_heavy(body)
    route = find("/v1/completions")
    assert route is not None
    Planner(cast(Any, None), Limits()).read(body, route, NOBODY)
    assert len(weighed) == times


class Backend:
    """An engine that can do everything."""

    name = "llama.cpp"
    streams_to_cancel = True

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        return None


class Keys:
    """One runner for everything; one instance of it."""

    revision = 0

    def backend(self, name: str | None) -> Any:
        return Backend()

    def key(self, backend: Any, model: str, mode: BackendMode) -> RunnerKey:
        return RunnerKey("llama.cpp", model, mode, "")

    def configuration(self, key: RunnerKey, model: str) -> ModelConfiguration:
        return ModelConfiguration()

    def spreads(self, key: RunnerKey) -> bool:
        return False


def request(body: bytes, *, origin: str | None = None) -> Request:
    return Request(
        "POST", b"/", "/", [], True, True, len(body), False, "r-1", origin=origin, body=body
    )


def plan(subject: Planner, path: str, body: bytes, *, origin: str | None = None) -> Plan:
    route = find(path)
    assert route is not None
    read = subject.read(body, route, NOBODY)
    assert isinstance(read, ParsedRequest)
    return subject.plan(read, UNSEEN, request(body, origin=origin), route)


CHATS = "/v1/chat/completions"
PLAIN = (
    b'{"model":"m","messages":[{"role":"user","content":"%s"}]}',
    b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%s"}]}',
    b'{"model":"m","temperature":0.5,"messages":[{"role":"user","content":"%s"}]}',
)
NOT_PLAIN = (
    b'{"model":"m","stop":"\\n","messages":[{"role":"user","content":"%s"}]}',
    b'{"model":"m","n":2,"messages":[{"role":"user","content":"%s"}]}',
    b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}',
    b'{"model":"m","logprobs":true,"messages":[{"role":"user","content":"%s"}]}',
)


@pytest.mark.parametrize("body", [*PLAIN, *NOT_PLAIN])
@pytest.mark.parametrize("origin", [None, "ci"])
def test_a_plan_is_the_same_whatever_was_planned_before(body: bytes, origin: str | None) -> None:
    """All of it, but for the translations that collect a response of their own."""
    subject, fresh = (Planner(cast(Any, Keys()), Limits()) for _ in range(2))
    for other in (*PLAIN, *NOT_PLAIN):
        for whose in (None, "ci", "other"):
            plan(subject, CHATS, other % b"before", origin=whose)
    found = plan(subject, CHATS, body % b"now", origin=origin)
    expected = plan(fresh, CHATS, body % b"now", origin=origin)
    assert type(found.translation) is type(expected.translation)
    assert found.translation is PASSED or found.translation is not expected.translation
    same = {"translation": PASSED, "token_time": None}
    assert msgspec.structs.replace(found, **same) == msgspec.structs.replace(expected, **same)


def test_two_chats_have_a_response_each() -> None:
    """What puts one together knows nothing of another one."""
    subject = Planner(cast(Any, Keys()), Limits())
    plans = [plan(subject, CHATS, PLAIN[0] % b"x") for _ in range(3)]
    assert len({id(each.translation) for each in plans}) == 3


def test_nothing_of_a_request_is_kept_for_the_next_one() -> None:
    """Neither its body, nor more plans than a few, whatever clients call themselves."""
    subject, route = Planner(cast(Any, Keys()), Limits()), find(CHATS)
    assert route is not None
    for number in range(100):
        plan(subject, CHATS, PLAIN[0] % b"secret", origin=f"client-{number}")
    kept = subject._find(route, route.operation, "m", UNSEEN).plans
    assert 0 < len(kept) <= 16
    assert all(each.body == () for each in kept.values())
