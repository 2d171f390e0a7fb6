"""What a user's requests count for."""

from __future__ import annotations

import asyncio

import pytest

from runnerd.access import Directory, Key, Rules, User, UserLimits, owner_principal, user_principal
from runnerd.errors import LimitReached
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.plan import Plan
from runnerd.relay.records import LEFT, RequestRecord
from runnerd.relay.token_time import TokenTime
from runnerd.relay.user_accounts import UserAccounts
from runnerd.scheduler import RunnerKey

ANN = user_principal("u", "k")


def accounts(**limits: int) -> UserAccounts:
    user = User("u", "ann", limits=UserLimits(**limits))
    directory = Directory((user,), (Key("k", "u", "D", 0.0),))
    return UserAccounts(Rules(lambda: 0.0, directory), lambda: 100.0)


def record(counts: bytes | None = None) -> RequestRecord:
    made = RequestRecord("id", "m", "chat", None, None, False, 1)
    made.counts = counts
    return made


def plan(body: bytes, *, seconds: float | None = None) -> Plan:
    """A text completion that an engine is asked for, whose tokens take so long."""
    time = TokenTime()
    time.seconds = seconds
    key = RunnerKey("llama.cpp", "m", "completion", "")
    return Plan(
        OPERATIONS["completions"], key, "m", "m", (body,), streams=False, assembles=False,
        prompts=1, preload_only=False, origin=None, token_time=time,
    )  # fmt: skip


def test_who_has_no_limits_costs_nothing() -> None:
    """Neither owners nor users without any are counted."""
    assert accounts(concurrent_requests=1).begin(owner_principal(0)) is None
    assert accounts().begin(ANN) is None
    assert accounts(priority=2, context=10).begin(ANN) is not None


def test_requests_at_once() -> None:
    """One that has ended makes room."""
    counting = accounts(concurrent_requests=1)
    first = counting.begin(ANN)
    assert first is not None
    with pytest.raises(LimitReached):
        counting.begin(ANN)
    first.ended(record())
    assert counting.begin(ANN) is not None


def test_requests_at_once_do_not_go_beyond_a_day() -> None:
    """Each gets what is left beside the others; what it did not take is given back."""
    counting = accounts(tokens_per_day=1000)
    first, second = counting.begin(ANN), counting.begin(ANN)
    assert first is not None
    assert second is not None
    said = first.reserve(plan(b'{"prompt":"abcdefgh","max_tokens":600}'))
    assert said.body == (b'{"prompt":"abcdefgh","max_tokens":600}',)
    cut = second.reserve(plan(b'{"prompt":"abcd","max_tokens":600}'))
    assert b'"max_tokens":397' in b"".join(cut.body)
    with pytest.raises(LimitReached, match="tokens_per_day"):
        counting.begin(ANN)
    first.ended(record(b'"usage":{"prompt_tokens":10,"completion_tokens":90}'))
    second.ended(record())
    third = counting.begin(ANN)
    assert third is not None
    unsaid = third.reserve(plan(b'{"prompt":"abcd"}'))
    assert b'"max_tokens":899' in b"".join(unsaid.body)


def test_who_leaves_is_counted() -> None:
    """With its text and with what the engine can have generated until then."""
    counting = accounts(tokens_per_day=1000)
    for waited, worked in ((None, 0.0), (1.0, 2.0)):
        request = counting.begin(ANN)
        assert request is not None
        request.reserve(plan(b'{"prompt":"abcdefgh","max_tokens":600}', seconds=0.02))
        left = record()
        left.error, left.waited, left.duration = LEFT, waited, (waited or 0.0) + worked
        request.ended(left)
    assert counting.left(ANN.id, 1000) == 1000 - 2 - 100


def test_tokens_are_what_the_engine_told() -> None:
    """Prompt and response; what was used before the daemon began counts, too."""
    counting = accounts(tokens_per_day=100)
    counting.spent({ANN.id: 60})
    for counts in (None, b'"usage":{"prompt_tokens":30,"completion_tokens":10}'):
        request = counting.begin(ANN)
        assert request is not None
        request.ended(record(counts))
    with pytest.raises(LimitReached, match="tokens_per_day"):
        counting.begin(ANN)


async def test_large_requests_are_counted_as_well() -> None:
    """In a thread; who comes meanwhile takes nothing twice."""
    counting = accounts(tokens_per_day=1000)
    first, second = counting.begin(ANN), counting.begin(ANN)
    assert first is not None
    assert second is not None
    large = plan(b'{"prompt":"abcd","max_tokens":800}')
    both = await asyncio.gather(
        first.reserve_aside(large), second.reserve_aside(large), return_exceptions=True
    )
    assert [isinstance(each, LimitReached) for each in both].count(True) == 1
    assert counting.left(ANN.id, 1000) == 199
    first.ended(record())
    second.ended(record())
    assert counting.left(ANN.id, 1000) == 1000
