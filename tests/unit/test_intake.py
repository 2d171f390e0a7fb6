"""What a request waits for, and that it is read and planned once whatever that is."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from runnerd.access import (
    Directory,
    Key,
    Principal,
    Rules,
    User,
    UserLimits,
    owner_principal,
    user_principal,
)
from runnerd.backends.interface import EngineFailure
from runnerd.errors import ClientError, ModelNotFound
from runnerd.limit_settings import Limits
from runnerd.pulls.asker import Asker
from runnerd.relay import aside
from runnerd.relay.body import Body
from runnerd.relay.body_scan import LARGE
from runnerd.relay.intake import Intake, PendingPlan
from runnerd.relay.messages import Request
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.plan import Plan
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.request_permissions import RequestPermissions
from runnerd.relay.request_validation import validate_request
from runnerd.relay.routes import Route, find
from runnerd.scheduler import RunnerKey

COVERS = ("runnerd.relay.request_validation",)

PLAIN = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
WEBP = (
    b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":'
    b'"data:image/webp;base64,UklGRiIAAABXRUJQVlA4TAAAAAAA"}}]}]}'
)


class CountingPlanner:
    """A planner whose one model may be missing at first; it knows how often it was asked."""

    def __init__(self, *, missing: bool, capabilities: tuple[str, ...]) -> None:
        self.missing = missing
        self._capabilities = capabilities
        self.read_bodies: list[Body] = []
        self.planned_bodies: list[Body] = []

    def read(
        self, body: Body, route: Route, principal: Principal, *, light: bool = False
    ) -> ParsedRequest:
        self.read_bodies.append(body)
        return parse(body)

    def may_be(self, reference: str, principal: Principal) -> bool:
        return True

    def model(self, reference: str, route: Route, principal: Principal) -> Any:
        if self.missing:
            raise ModelNotFound("no such model")
        return SimpleNamespace(capabilities=self._capabilities, id="sha256:0")

    def judge_unseen(self, read: ParsedRequest, request: Request, route: Route) -> None:
        validate_request(route.operation.name, bytes(read.body))

    def served(self, read: ParsedRequest, model: Any, route: Route) -> object:
        return model

    def plan(
        self,
        read: ParsedRequest,
        model: Any,
        request: Request,
        route: Route,
        *,
        served: object = None,
    ) -> Plan:
        self.planned_bodies.append(read.body)
        key = RunnerKey("llama.cpp", "load", "completion", "")
        return Plan(
            route.operation, key, "sha256:0", "m", (read.body,), False, False, 1, False, None
        )

    def plan_large(
        self, read: Any, model: Any, request: Request, route: Route, served: object
    ) -> Plan:
        return self.plan(read, model, request, route, served=served)


class Pulling:
    """Models that come at once when they are waited for."""

    def __init__(self, planner: CountingPlanner) -> None:
        self._planner = planner

    def expect(
        self, reference: str, check: Callable[[], None], *, puller: Asker | None
    ) -> Callable[[], Awaitable[None]]:
        assert reference == "m"
        assert puller == Asker(owner_principal(0), is_owner=True)
        check()

        async def wait() -> None:
            self._planner.missing = False

        return wait


@pytest.fixture
def transcoded(monkeypatch: pytest.MonkeyPatch) -> list[Body]:
    """The bodies whose images were transcoded, each into one that is in order."""
    bodies: list[Body] = []

    async def transcode(self: object, body: Body, principal: str) -> bytes:
        bodies.append(body)
        return PLAIN

    monkeypatch.setattr(
        "runnerd.relay.request_rewrites.transcode.ImageTranscoder.transcoded", transcode
    )
    return bodies


class NothingRemembered:
    """Each request is planned."""

    def plan(self, *asked: object) -> None: ...
    def note(self, *asked: object) -> None: ...


def intake(planner: CountingPlanner, folder: Path) -> Intake:
    pulling = cast(Any, Pulling(planner))
    found = cast(Any, planner)
    permissions = RequestPermissions(Rules(lambda: 0.0), found)
    return Intake(
        found,
        found,
        permissions,
        Quarantine(),
        pulling,
        cast(Any, NothingRemembered()),
        images_dir=folder,
        limits=Limits(body_bytes=2**20),
    )


def plan(taking: Intake, body: bytes) -> Plan | PendingPlan:
    route = find("/v1/chat/completions")
    assert route is not None
    request = Request("POST", b"/", "/", [], True, True, len(body), False, "id", body=body)
    return taking.plan(request, route, owner_principal(0))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("capabilities", [("completion",), ("completion", "vision")])
@pytest.mark.parametrize("body", [PLAIN, WEBP], ids=["plain", "webp"])
async def test_a_request_is_read_and_planned_once(
    transcoded: list[Body],
    tmp_path: Path,
    missing: bool,
    capabilities: tuple[str, ...],
    body: bytes,
) -> None:
    """Also one that waits for a model, for its images, or for the one and then the other."""
    planner = CountingPlanner(missing=missing, capabilities=capabilities)
    found = plan(intake(planner, tmp_path / "images"), body)
    sees = body == WEBP and "vision" in capabilities
    assert isinstance(found, PendingPlan) is (missing or sees)
    while isinstance(found, PendingPlan):
        assert planner.planned_bodies == []
        found = await found.wait()
    assert planner.read_bodies == [body]
    assert planner.planned_bodies == [PLAIN if sees else body]
    assert transcoded == ([body] if sees else [])


async def test_a_request_that_no_model_would_answer_is_not_waited_for(tmp_path: Path) -> None:
    """It is refused before anything is pulled."""
    planner = CountingPlanner(missing=True, capabilities=("completion",))
    with pytest.raises(ClientError, match="messages"):
        plan(intake(planner, tmp_path / "images"), b'{"model":"m"}')


async def test_a_large_body_is_read_beside_the_event_loop(tmp_path: Path) -> None:
    """And planned in its thread again; what is wrong with it is told as of any other."""
    planner = CountingPlanner(missing=False, capabilities=("completion",))
    body = b'{"model":"m","prompt":"%s"}' % (b"x" * LARGE)
    found = plan(intake(planner, tmp_path / "images"), body)
    assert isinstance(found, PendingPlan)
    assert planner.read_bodies == []
    while isinstance(found, PendingPlan):
        found = await found.wait()
    assert planner.read_bodies == planner.planned_bodies == [body]
    wrong = plan(intake(planner, tmp_path / "images"), b"[" * LARGE * 2)
    assert isinstance(wrong, PendingPlan)
    with pytest.raises(msgspec.DecodeError):
        await wrong.wait()


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_large_body_for_a_model_on_its_way_is_judged_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Once, before anything is pulled."""
    threads: list[int] = []
    planner = CountingPlanner(missing=True, capabilities=("completion",))
    judge = planner.judge_unseen

    def noted(*arguments: Any) -> None:
        threads.append(threading.get_ident())
        judge(*arguments)

    monkeypatch.setattr(planner, "judge_unseen", noted)
    text = b"x" * size
    for body in (
        b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % text,
        b'{"model":"m","x":"%s"}' % text,
    ):
        planner.missing = True
        with contextlib.ExitStack() as stack:
            if b"messages" not in body:
                stack.enter_context(pytest.raises(ClientError, match="messages"))
            found = plan(intake(planner, tmp_path / "images"), body)
            while isinstance(found, PendingPlan):
                found = await found.wait()
    assert planner.missing
    assert len(threads) == 2
    assert all((thread == threading.get_ident()) is (size < LARGE) for thread in threads)


class HurriedPlanner(CountingPlanner):
    """Has no time on an event loop: to read, to judge or to plan."""

    def __init__(self, hurried: str, *, missing: bool) -> None:
        super().__init__(missing=missing, capabilities=("completion",))
        self._hurried = hurried

    def _take_time(self, step: str) -> None:
        if step == self._hurried and aside.is_on_loop():
            raise aside.TakesLonger

    def read(
        self, body: Body, route: Route, principal: Principal, *, light: bool = False
    ) -> ParsedRequest:
        self._take_time("read")
        return super().read(body, route, principal)

    def judge_unseen(self, read: ParsedRequest, request: Request, route: Route) -> None:
        self._take_time("judge_unseen")
        super().judge_unseen(read, request, route)

    def plan(self, *arguments: Any, **named: Any) -> Plan:
        self._take_time("plan")
        return super().plan(*arguments, **named)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("hurried", ["read", "judge_unseen", "plan"])
async def test_what_takes_longer_is_done_in_a_thread(
    tmp_path: Path, hurried: str, missing: bool
) -> None:
    """Whichever step it is, also of a request that has waited for its model."""
    planner = HurriedPlanner(hurried, missing=missing)
    found = plan(intake(planner, tmp_path / "images"), PLAIN)
    assert isinstance(found, PendingPlan) is (missing or hurried != "judge_unseen")
    while isinstance(found, PendingPlan):
        found = await found.wait()
    assert planner.planned_bodies == [PLAIN]


class ForeignPlanner(CountingPlanner):
    """Reads requests as of another API, and knows in which thread they are translated."""

    def __init__(self) -> None:
        super().__init__(missing=False, capabilities=("completion",))
        self.threads: list[int] = []

    def read(self, body: Body, route: Route, principal: Principal, *, light: bool = False) -> Any:
        self.read_bodies.append(body)
        return SimpleNamespace(reference="m", body=body)

    def translated(self, read: Any, model: Any) -> ParsedRequest:
        self.threads.append(threading.get_ident())
        return parse(read.body)

    def plan(
        self, read: Any, model: Any, request: Request, route: Route, *, served: object = None
    ) -> Plan:
        if not isinstance(read, ParsedRequest):
            read = self.translated(read, model)
        return super().plan(read, model, request, route, served=served)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_large_body_of_another_api_is_translated_beside_the_event_loop(
    tmp_path: Path, size: int
) -> None:
    """It is written anew, and looked at again, which takes as long as to read it; once."""
    planner = ForeignPlanner()
    body = b'{"model":"m","prompt":"%s"}' % (b"x" * size)
    found = plan(intake(planner, tmp_path / "images"), body)
    while isinstance(found, PendingPlan):
        found = await found.wait()
    assert planner.read_bodies == planner.planned_bodies == [body]
    [thread] = planner.threads
    assert (thread == threading.get_ident()) is (size < LARGE)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_what_a_large_body_is_known_by_is_found_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """As is whether it is within a user's limit: both look at all of it."""
    threads: list[int] = []

    def noted(module: str, name: str) -> None:
        inner = getattr(importlib.import_module(module), name)

        def look(*arguments: Any) -> Any:
            threads.append(threading.get_ident())
            return inner(*arguments)

        monkeypatch.setattr(f"{module}.{name}", look)

    noted("runnerd.relay.quarantine", "_kind")
    noted("runnerd.relay.plan", "within_context")
    planner = CountingPlanner(missing=False, capabilities=("completion",))
    user = User("u", "ann", limits=UserLimits(context=2**30))
    policy = Rules(lambda: 0.0, Directory((user,), (Key("k", "u", "D", 0.0),)))
    quarantine = Quarantine()
    key = RunnerKey("llama.cpp", "load", "completion", "")
    died = EngineFailure("SIGSEGV", exit_reason="killed by SIGSEGV", loading=False)
    for generation in range(2):
        quarantine.accuse(generation, key, (b"poison",), died)
    assert quarantine
    threads.clear()
    stub = cast(Any, planner)
    permissions = RequestPermissions(policy, stub)
    taking = Intake(
        stub,
        stub,
        permissions,
        quarantine,
        None,
        cast(Any, NothingRemembered()),
        images_dir=tmp_path,
        limits=Limits(body_bytes=2**20),
    )
    body = b'{"model":"m","messages":[],"x":"%s"}' % (b"x" * size)
    route = find("/v1/chat/completions")
    assert route is not None
    request = Request("POST", b"/", "/", [], True, True, len(body), False, "id", body=body)
    found = taking.plan(request, route, user_principal("u", "k"))
    while isinstance(found, PendingPlan):
        found = await found.wait()
    assert len(threads) == 2
    assert all((thread == threading.get_ident()) is (size < LARGE) for thread in threads)
