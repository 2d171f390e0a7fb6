"""A page does not act for the owner who looks at it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from runnerd.access import Action, address_principal, owner_principal, user_principal
from runnerd.api.page_requests import OWNERS, check_page
from runnerd.errors import Forbidden

OWNER = owner_principal(1000)


def request(origin: str | None, host: str = "localhost:12434") -> web.Request:
    headers: dict[str, Any] = {} if origin is None else {"Origin": origin}
    return cast(web.Request, SimpleNamespace(headers=headers, host=host))


@pytest.mark.parametrize("action", sorted(OWNERS))
@pytest.mark.parametrize(
    "origin", ["http://localhost:9999", "http://localhost", "null", "https://evil.example", ""]
)
def test_pages_of_others(action: Action, origin: str) -> None:
    """Whatever their origin is, also one on this host; with a key they act for themselves."""
    for principal in (OWNER, address_principal("127.0.0.1")):
        with pytest.raises(Forbidden):
            check_page(request(origin), action, principal)
    check_page(request(origin), action, user_principal("id", "key"))


def test_what_is_no_page_or_the_daemons_own() -> None:
    """Commands send no origin; the daemon's own pages have the one that is asked."""
    for action in Action:
        check_page(request(None), action, OWNER)
        check_page(request("http://LOCALHOST:12434"), action, OWNER)


def test_what_pages_do_for_their_users() -> None:
    """Using models, loading and pulling them is what pages are for."""
    for action in set(Action) - OWNERS:
        check_page(request("http://localhost:9999"), action, OWNER)
