"""What the policy says of an inference request: of its head, its plan, and while it goes on."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from runnerd.access import (
    NOBODY,
    Directory,
    Key,
    Permission,
    Principal,
    Rules,
    User,
    UserLimits,
    by_any_key,
    owner_principal,
    user_principal,
)
from runnerd.errors import ModelNotFound, PermissionMissing, Unauthorized
from runnerd.pulls.asker import Asker
from runnerd.relay.messages import Request
from runnerd.relay.plan import Plan
from runnerd.relay.request_permissions import RequestPermissions
from runnerd.relay.routes import Route, find
from runnerd.scheduler import BACKGROUND, RunnerKey

USES = frozenset({Permission.SESSION})
KEY = RunnerKey("llama.cpp", "load", "completion", "")
OWNER, ANN, BOB, LOADS, PULLS, GONE = (
    owner_principal(0),
    *(user_principal(name, f"key of {name}") for name in ("ann", "bob", "loads", "pulls", "gone")),
)
USERS = (
    User("ann", "ann", permissions=USES, models=("ai/*",)),
    User("bob", "bob", permissions=frozenset()),
    User("loads", "loads", permissions=USES | {Permission.LOAD_LLM}),
    User(
        "pulls",
        "pulls",
        permissions=USES | {Permission.DOWNLOAD_LLM},
        limits=UserLimits(priority=2, context=100),
    ),
)


class Named:
    """Notes which models' grants are asked for."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, str]] = []

    def check_granted(self, principal: Principal, backend: str, model: str) -> None:
        self.checked.append((backend, model))
        raise ModelNotFound("not granted any more")


@pytest.fixture
def named() -> Named:
    return Named()


@pytest.fixture
def rules() -> Rules:
    keys = tuple(Key(f"key of {user.id}", user.id, user.id, 0.0) for user in USERS)
    return Rules(lambda: 0.0, Directory(USERS, keys))


@pytest.fixture
def permissions(rules: Rules, named: Named) -> RequestPermissions:
    return RequestPermissions(rules, cast(Any, named))


def route(path: str = "/v1/chat/completions") -> Route:
    found = find(path)
    assert found is not None
    return found


def request(*, preload_only: bool = False, background: bool = False) -> Request:
    made = Request("POST", b"/", "/", [], True, True, 2, False, "id", body=b"{}")
    made.preload_only, made.background = preload_only, background
    return made


def plan(keep_alive: float | None = None) -> Plan:
    made = Plan(route().operation, KEY, "sha256:0", "m", (b"{}",), False, False, 1, False, None)
    return msgspec.structs.replace(made, keep_alive=keep_alive)


@pytest.mark.parametrize("who", [OWNER, ANN, LOADS])
def test_asking_a_model(permissions: RequestPermissions, who: Principal) -> None:
    """Whoever may use models may ask them."""
    permissions.authorize(request(), route(), who)


@pytest.mark.parametrize(
    ("who", "error"), [(BOB, PermissionMissing), (NOBODY, Unauthorized), (GONE, Unauthorized)]
)
def test_who_may_not(
    permissions: RequestPermissions, who: Principal, error: type[Exception]
) -> None:
    """Neither by the head nor by the plan, nor later on."""
    with pytest.raises(error):
        permissions.authorize(request(), route(), who)
    with pytest.raises(error):
        permissions.permitted(plan(), request(), who)
    with pytest.raises(error):
        permissions.still_allowed(who, plan())


def test_loading_alone_takes_the_permission_for_it(permissions: RequestPermissions) -> None:
    """A request that only loads is no use of a model."""
    for who in (OWNER, LOADS):
        permissions.authorize(request(preload_only=True), route(), who)
    with pytest.raises(PermissionMissing, match="load_llm"):
        permissions.authorize(request(preload_only=True), route(), ANN)


@pytest.mark.parametrize("said", [3601.0, -1.0, float("inf")])
def test_keeping_a_model_takes_it_too(permissions: RequestPermissions, said: float) -> None:
    """Who may not load has it for an hour, and is told; who may, as long as it says."""
    kept, _ = permissions.permitted(plan(said), request(), LOADS)
    assert (kept.keep_alive, kept.warnings) == (said, ())
    shortened, _ = permissions.permitted(plan(said), request(), ANN)
    assert shortened.keep_alive == 3600.0
    assert "load_llm" in shortened.warnings[0]
    for short in (None, 0.0, 3600.0):
        assert permissions.permitted(plan(short), request(), ANN)[0] == plan(short)


def test_priorities_and_limits(permissions: RequestPermissions) -> None:
    """A user's own; what nobody waits for is behind everybody, whoever asks."""
    found, limits = permissions.permitted(plan(), request(), PULLS)
    assert (found.priority, limits.context) == (2, 100)
    assert permissions.permitted(plan(), request(), ANN)[0].priority == 0
    for who in (PULLS, OWNER):
        behind, _ = permissions.permitted(plan(), request(background=True), who)
        assert behind.priority == BACKGROUND


def test_what_goes_on(permissions: RequestPermissions, named: Named, rules: Rules) -> None:
    """It counts what the principal may now, and which models were granted to it."""
    for who in (OWNER, LOADS):
        permissions.still_allowed(who, plan())
        permissions.still_allowed(who, None)
    assert named.checked == []
    permissions.still_allowed(ANN, None)
    with pytest.raises(ModelNotFound):
        permissions.still_allowed(ANN, plan())
    assert named.checked == [("llama.cpp", "sha256:0")]
    rules.adopt(Directory.EMPTY)
    for asked in (plan(), None):
        with pytest.raises(Unauthorized):
            permissions.still_allowed(ANN, asked)


def test_who_pulls_by_asking(permissions: RequestPermissions) -> None:
    """Whoever may download; as an owner only who is one."""
    assert permissions.puller(OWNER) == Asker(OWNER, is_owner=True)
    assert permissions.puller(PULLS) == Asker(by_any_key(PULLS))
    assert permissions.puller(ANN) is None
    with pytest.raises(Unauthorized):
        permissions.puller(GONE)
