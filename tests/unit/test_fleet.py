"""The runners that there are, until their last process is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.scheduler import RunnerKey
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor import fleet as module
from runnerd.supervisor.fleet import Fleet
from runnerd.tasks import spawn


class Waiting:
    """A runner that only waits."""

    def __init__(self, backend: Any, spec: Any, socket: Path, **more: Any) -> None:
        self.socket, self.key, self.name = socket, more["key"], f"r{more['generation']}"

    def start(self) -> None: ...


def key(load: str) -> RunnerKey:
    return RunnerKey("b", load, BackendMode.COMPLETION, "")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """One whose runners are no processes."""
    monkeypatch.setattr(module, "Runner", Waiting)
    return Fleet(cast(Any, {"b": None}), RuntimeDirectory(tmp_path / "run"))


def start(fleet: Fleet, load: str, generation: int) -> Any:
    fleet.start(key(load), generation, *cast(Any, (None, None, None)), ram_limit=None)
    return fleet[generation]


def test_no_two_runners_have_one_socket(fleet: Fleet) -> None:
    """A pool's instances are numbered; the number of one that has ended is free again."""
    first, second, other = start(fleet, "a", 1), start(fleet, "a", 2), start(fleet, "b", 3)
    assert len({first.socket, second.socket, other.socket}) == 3
    fleet.remove(1)
    again = start(fleet, "a", 4)
    assert again.socket == first.socket


async def test_it_is_empty_when_the_last_one_has_ended(fleet: Fleet) -> None:
    """And before the first one; whoever waits is woken then, and not before."""
    await fleet.wait_empty()
    start(fleet, "a", 1)
    start(fleet, "a", 2)
    waiting = spawn(fleet.wait_empty(), name="waiting")
    fleet.remove(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    fleet.remove(2)
    await waiting


def test_runners_whose_files_were_deleted_miss_them(fleet: Fleet) -> None:
    """Those that there were then: one that starts afterwards has other files."""
    start(fleet, "a", 1)
    start(fleet, "b", 2)
    fleet.orphan("a")
    start(fleet, "a", 3)
    assert [fleet.is_orphan(number) for number in (1, 2, 3)] == [True, False, False]
    fleet.remove(1)
    assert not fleet.is_orphan(1)


def test_who_is_found_by_what(fleet: Fleet) -> None:
    """By generation, by the id that people see, by key."""
    start(fleet, "a", 1)
    start(fleet, "b", 2)
    assert fleet.named("r2") is fleet.get(2)
    assert fleet.named("r9") is None
    assert fleet.get(9) is None
    assert fleet.keys() == {key("a"), key("b")}
    assert fleet.matching(lambda each: each.model == "b") == [2]
    assert [1 in fleet, 9 in fleet, len(fleet)] == [True, False, 2]
    for runner in fleet:
        fleet.remove(int(runner.name[1:]))  # while it is walked through
    assert len(fleet) == 0
