"""What clients are told to do otherwise."""

from __future__ import annotations

import pytest

from runnerd.errors import (
    ClientError,
    LimitReached,
    MethodNotAllowed,
    Overloaded,
    PermissionMissing,
    RequestCancelled,
    Unauthorized,
)


def test_what_clients_are_told_to_do_is_in_the_head() -> None:
    """Whole seconds, at least one; whether an SDK may repeat; what may be asked instead."""
    assert Overloaded("x", retry_after=0.2).headers() == {"Retry-After": "1"}
    assert Overloaded("x", retry_after=90.4).headers() == {"Retry-After": "90"}
    assert Overloaded("x", should_retry=False).headers() == {"x-should-retry": "false"}
    assert MethodNotAllowed("x", allow="GET").headers() == {"Allow": "GET"}
    assert "Bearer" in Unauthorized("x").headers()["WWW-Authenticate"]


def test_a_head_has_all_that_is_said_of_an_error() -> None:
    """An error with a header of its own has the others as well."""
    missing = Unauthorized("x", retry_after=3, should_retry=False).headers()
    assert {"Retry-After", "x-should-retry", "WWW-Authenticate"} == missing.keys()


@pytest.mark.parametrize(
    ("after", "repeats"), [(None, False), (10, None), (120, None), (3600, False)]
)
def test_a_limit_is_not_asked_again_for_hours(after: float | None, repeats: bool | None) -> None:
    """An SDK repeats by itself only what helps soon."""
    assert LimitReached("x", limit="tokens_per_day", retry_after=after).should_retry is repeats


def test_what_programs_go_by_is_in_a_member() -> None:
    """Which limit, which permission; and that a cancelled request is not to be sent again."""
    assert LimitReached("x", limit="context").limit == "context"
    assert PermissionMissing("x", permission="load_llm").permission == "load_llm"
    assert RequestCancelled("x").headers() == {"x-should-retry": "false"}
    assert isinstance(PermissionMissing("x", permission="session"), ClientError)
