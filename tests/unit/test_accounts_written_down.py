"""What is kept of who uses the daemon, written down every few seconds and at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runnerd import tasks
from runnerd.accounts import accounts as accounts_module
from runnerd.accounts.accounts import Accounts

COVERS = ("runnerd.accounts.accounts",)


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.setattr(accounts_module, "_INTERVAL", 0.0)
    return Accounts(tmp_path, lambda id: id)


async def test_the_end_waits_for_what_is_being_written(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called off, it would be written twice."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    ended: list[bool] = []

    async def flush() -> None:
        begun.set()
        try:
            await go_on.wait()
        finally:
            ended.append(go_on.is_set())

    monkeypatch.setattr(accounts.audit, "flush", flush)
    await accounts.open()
    await begun.wait()
    closing = tasks.spawn(accounts.close(), name="close")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ended
    go_on.set()
    await closing
    assert ended == [True, True]


async def test_a_failure_is_not_the_last_try(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong once, the next look writes down what has come together."""
    tries = 0
    again = asyncio.Event()

    async def flush() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("once")
        again.set()

    monkeypatch.setattr(accounts.audit, "flush", flush)
    await accounts.open()
    async with asyncio.timeout(10):
        await again.wait()
    await accounts.close()
