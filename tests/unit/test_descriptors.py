"""How many clients there are descriptors for."""

from __future__ import annotations

import resource

import pytest

from runnerd.sockets.descriptors import most_clients


@pytest.mark.parametrize(
    ("soft", "clients"),
    [
        (resource.RLIM_INFINITY, 10_000),
        (1_048_576, 10_000),
        (1024, 250),  # half of the rest is kept for engines, and each client is two
        (4096, 1780),
        (24, 4),
        (0, 4),
    ],
)
def test_most_clients(soft: int, clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are wanted where the limit allows it, some even where there are next to none."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, soft))
    assert most_clients(10_000) == clients
