"""The supervisor's parts, built together: each decision reaches who carries it out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runnerd.access import NOBODY
from runnerd.backends.configuration import BackendMode
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.errors import Draining
from runnerd.scheduler import RunnerKey, RunnerState
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor.lease import Promise, Waiter
from runnerd.supervisor.parts import ModelNames, SupervisorParts, build_parts
from tests.support.listener import Listener
from tests.support.waiting import until

COVERS = ("runnerd.supervisor.lease",)


@pytest.fixture
def parts(tmp_path: Path) -> SupervisorParts:
    """Parts of a host that has room for one runner."""
    directory = RuntimeDirectory(tmp_path / "run")
    directory.prepare()
    return build_parts(
        Settings(default_backend=Listener.name, max_runners=1),
        {Listener.name: Listener()},
        Configurations(tmp_path / "configurations.json"),
        directory,
        host=None,
        names=ModelNames(str, str, lambda load: (load,)),
        slots=None,
    )


async def test_each_decision_is_carried_out(parts: SupervisorParts) -> None:
    """A start and a grant; a stop, since another model wants the room; a refusal, at the end."""
    ticket = 0

    async def ask(key: RunnerKey) -> Promise:
        nonlocal ticket
        ticket += 1
        promise = Promise()
        await parts.preparation.prepare(key, key.model, shares=False)
        parts.claims.wait(ticket, Waiter(key, NOBODY, promise, None))
        parts.actions.carry_out(parts.scheduler.request(ticket, key, time.monotonic()))
        return promise

    first, second = (
        parts.keys.key(parts.keys.backend(None), name, BackendMode.COMPLETION)
        for name in ("first", "second")
    )
    lease = await (await ask(first)).kept()
    assert lease.runner.state is RunnerState.READY
    refused = await ask(second)
    assert lease.runner.state is RunnerState.READY  # somebody has it
    parts.actions.carry_out(parts.scheduler.drain())
    with pytest.raises(Draining):
        await refused.kept()
    lease.release()
    await until(lambda: lease.runner.state is RunnerState.STOPPED)
    await parts.fleet.wait_empty()
    await parts.watch.close()
    parts.actions.close()
    parts.claims.close()
