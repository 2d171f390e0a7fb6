"""How many of something a query asks for."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from runnerd.api.admin.counts import count_of
from runnerd.errors import ClientError


def asked(query: str) -> int:
    return count_of(make_mocked_request("GET", f"/x?{query}"), "limit", usual=30, most=400)


def test_within_bounds() -> None:
    """A number, or what is usual."""
    assert [asked(query) for query in ("", "limit=1", "limit=400", "limit=007")] == [30, 1, 400, 7]


@pytest.mark.parametrize("said", ["0", "401", "0000001", "9" * 5000, "-1", "1.5", "", "²"])
def test_beyond(said: str) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(ClientError, match="limit is a number from 1 to 400"):
        asked(f"limit={said}")
