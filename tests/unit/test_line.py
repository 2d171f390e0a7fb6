"""Waiting for a runner that is in use, without a task: the supervisor's side of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd.access import address_principal
from runnerd.backends.configuration import BackendMode
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.errors import RunnerdError
from runnerd.scheduler import RunnerKey
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor import Lease, Supervisor
from runnerd.supervisor.slot_persistence import SlotPersistence
from tests.support.listener import Listener

PLACES = 8  # the backend's four slots, twice


class Claimant:
    """Notes what it is told; gives a lease back at once if it is in a `hurry`."""

    def __init__(self, told: list[Claimant], *, hurry: bool = False) -> None:
        self.lease: Lease | None = None
        self.error: RunnerdError | None = None
        self._told = told
        self._hurry = hurry

    def granted(self, lease: Lease) -> None:
        self._told.append(self)
        self.lease = lease
        if self._hurry:
            lease.release()

    def refused(self, error: RunnerdError) -> None:
        self._told.append(self)
        self.error = error


@pytest.fixture
def settings() -> Settings:
    """The supervisor's settings."""
    return Settings(default_backend=Listener.name, queue_length=5000)


@pytest.fixture
async def supervisor(tmp_path: Path, settings: Settings) -> AsyncIterator[Supervisor]:
    """A supervisor of engines that are listeners in this process."""
    directory = RuntimeDirectory(tmp_path / "run")
    directory.prepare()
    supervisor = Supervisor(
        settings,
        {Listener.name: Listener()},
        Configurations(tmp_path / "configurations.json"),
        directory,
    )
    yield supervisor
    await supervisor.close()


@pytest.fixture
async def busy(supervisor: Supervisor) -> tuple[RunnerKey, list[Lease]]:
    """A runner all of whose places are taken."""
    key = supervisor.keys.key(supervisor.keys.backend(None), "m", BackendMode.COMPLETION)
    leases = [
        await supervisor.lease(key, "m", principal=address_principal("first"))
        for _ in range(PLACES)
    ]
    assert supervisor.lease_at_once(key) is None
    return key, leases


async def test_places_go_to_clients_in_turns(
    supervisor: Supervisor, busy: tuple[RunnerKey, list[Lease]]
) -> None:
    """Who asks for much stands behind itself, and leaves one of four slots for others; each is
    told once, with no turn of the loop.
    """
    key, leases = busy
    told: list[Claimant] = []
    greedy = [Claimant(told) for _ in range(4)]
    modest = Claimant(told)
    for claimant in greedy:
        assert supervisor.line_up(key, claimant, principal=address_principal("greedy")) is not None
    assert supervisor.line_up(key, modest, principal=address_principal("modest")) is not None
    assert supervisor.queued == 5
    for lease in leases:
        lease.release()
    assert set(told[:2]) == {greedy[0], modest}
    assert told[2:] == greedy[1:3]
    assert greedy[0].lease is not None
    greedy[0].lease.release()
    assert told[2:] == greedy[1:]


@pytest.mark.parametrize("hurried", [True, False])
async def test_who_is_in_a_hurry_has_nothing_saved(
    supervisor: Supervisor,
    busy: tuple[RunnerKey, list[Lease]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    hurried: bool,
) -> None:
    """Nor of a runner that served when it was said, and is stopped afterwards."""
    del busy
    saves: list[object] = []

    async def remember(_: object, runner: object) -> None:
        saves.append(runner)

    monkeypatch.setattr(SlotPersistence, "remember", remember)
    supervisor.drain()
    if hurried:
        supervisor.hurry()
    await supervisor.close()
    assert bool(saves) is not hurried


async def test_who_leaves_gets_nothing(
    supervisor: Supervisor, busy: tuple[RunnerKey, list[Lease]]
) -> None:
    """The place goes to the next in line; leaving late or twice is harmless."""
    key, leases = busy
    told: list[Claimant] = []
    first, second = Claimant(told), Claimant(told)
    ticket = supervisor.line_up(key, first)
    other = supervisor.line_up(key, second)
    assert ticket is not None
    assert other is not None
    supervisor.leave(ticket)
    leases[0].release()
    assert told == [second]
    supervisor.leave(ticket)
    supervisor.leave(other)
    assert second.lease is not None
    assert second.lease.key == key


async def test_a_thousand_that_give_back_at_once(
    supervisor: Supervisor, busy: tuple[RunnerKey, list[Lease]]
) -> None:
    """Each grant leads to the next one, and no call is within another."""
    key, leases = busy
    told: list[Claimant] = []
    for _ in range(4000):
        assert supervisor.line_up(key, Claimant(told, hurry=True)) is not None
    leases[0].release()
    assert len(told) == 4000
    assert supervisor.queued == 0


async def test_a_line_ends_with_the_daemon_and_with_patience(
    supervisor: Supervisor, settings: Settings, busy: tuple[RunnerKey, list[Lease]]
) -> None:
    """Whoever waits too long is refused, by a timer that the first in line has set; the rest is
    when the daemon drains.
    """
    key, _ = busy
    settings.queue_timeout = 0.01
    supervisor.settings_changed()
    told: list[Claimant] = []
    impatient = Claimant(told)
    assert supervisor.line_up(key, impatient) is not None
    while not told:
        await asyncio.sleep(0)
    assert impatient.error is not None
    assert impatient.error.status == 429
    settings.queue_timeout = 600.0
    supervisor.settings_changed()
    last = Claimant(told)
    assert supervisor.line_up(key, last) is not None
    supervisor.drain()
    assert last.error is not None
    assert supervisor.line_up(key, Claimant(told)) is None


async def test_a_runner_that_is_not_there_takes_more_than_waiting(supervisor: Supervisor) -> None:
    """`line_up` leaves no trace then."""
    key = supervisor.keys.key(supervisor.keys.backend(None), "m", BackendMode.COMPLETION)
    assert supervisor.line_up(key, Claimant([])) is None
    assert supervisor.queued == 0
