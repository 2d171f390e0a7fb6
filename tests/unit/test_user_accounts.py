"""What a user's requests count for."""

from __future__ import annotations

import pytest

from runnerd.access import Directory, Key, Rules, User, UserLimits, owner_principal, user_principal
from runnerd.errors import LimitReached
from runnerd.relay.records import RequestRecord
from runnerd.relay.user_accounts import UserAccounts

ANN = user_principal("u", "k")


def accounts(**limits: int) -> UserAccounts:
    user = User("u", "ann", limits=UserLimits(**limits))
    directory = Directory((user,), (Key("k", "u", "D", 0.0),))
    return UserAccounts(Rules(lambda: 0.0, directory), lambda: 100.0)


def record(counts: bytes | None = None) -> RequestRecord:
    made = RequestRecord("id", "m", "chat", None, None, False, 1)
    made.counts = counts
    return made


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
