"""What engines had evaluated of sessions: saved one by one, restored for each alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.config import Settings
from runnerd.errors import BackendFailure
from runnerd.saved_slots import SavedSlots
from runnerd.supervisor.session_states import SessionStates


@dataclass
class Backend:
    """Writes what it was asked into files, and counts slots up."""

    folder: Path
    fault: str = ""
    restored: list[tuple[str, list[int]]] = field(default_factory=list)
    slot: int = 0

    async def slot_fingerprint(self, *args: Any) -> str | None: ...

    async def save_slots(self, *args: Any) -> list[str]:
        return []

    async def restore_slots(self, *args: Any) -> int:
        return 0

    async def save_conversation(
        self, socket: Path, model: str, request: bytes, response: str, name: str, room: int
    ) -> bool:
        if self.fault == "hangs":
            await asyncio.Event().wait()
        (self.folder / name).write_bytes(request + response.encode())
        if self.fault == "fails":
            raise BackendFailure("no")
        return self.fault != "small"

    async def restore_conversation(
        self, socket: Path, name: str, restored: Sequence[int]
    ) -> int | None:
        if self.fault == "fails":
            raise BackendFailure("no")
        self.restored.append(((self.folder / name).read_text(), list(restored)))
        self.slot += 1
        return self.slot


class States:
    """Session states over a folder, whose sessions have answered their own names."""

    def __init__(self, folder: Path, timeout: float = 5.0) -> None:
        self.saved = SavedSlots(folder, 10**6)
        self.saved.open()
        self.backend = Backend(folder)
        settings = Settings(slot_timeout=timeout)
        self.states = SessionStates(settings, self.saved, lambda runner: "f")
        self.gone: set[str] = set()
        self.states.last_response = self._last_response

    async def _last_response(self, session: str) -> str | None:
        return None if session in self.gone else session

    def runner(self) -> Any:
        spec = SimpleNamespace(model="m")
        return cast(Any, _Runner(backend=self.backend, socket=Path("r.sock"), name="r", spec=spec))

    async def end(self, runner: Any) -> None:
        await self.states.remember(runner)
        for chore in self.states.ended(runner):
            await chore

    def files(self) -> list[str]:
        return sorted(path.read_text() for path in self.saved.folder.glob("*.slot"))


@dataclass(eq=False)
class _Runner:
    backend: Backend
    socket: Path
    name: str
    spec: Any


@pytest.fixture
def kept(tmp_path: Path) -> States:
    return States(tmp_path)


async def test_each_session_is_saved_and_restored_alone(kept: States) -> None:
    """With its last request and response; another session gets nothing of it."""
    runner = kept.runner()
    for session, body in (("s1", b"one"), ("s2", b"two"), ("s1", b"one more")):
        kept.states.asked(runner, session, (body, b":"))
    await kept.end(runner)
    assert kept.files() == ["one more:s1", "two:s2"]
    runner = kept.runner()
    assert [kept.states.awaits(runner, each) for each in ("s1", "s2", "s3")] == [True, True, False]
    await kept.states.recall(runner, "s1")
    await kept.states.recall(runner, "s2")
    assert kept.backend.restored == [("one more:s1", []), ("two:s2", [1])]
    assert not kept.states.awaits(runner, "s1")


async def test_what_was_saved_anew_takes_the_place_of_the_old(kept: States) -> None:
    """What was not can be read again; so it is after a runner that was killed."""
    first = kept.runner()
    kept.states.asked(first, "s1", (b"one",))
    kept.states.asked(first, "s2", (b"two",))
    await kept.end(first)
    second = kept.runner()
    for session in ("s1", "s2"):
        await kept.states.recall(second, session)
    kept.states.asked(second, "s1", (b"more",))
    await kept.end(second)
    assert kept.files() == ["mores1", "twos2"]
    killed = kept.runner()
    await kept.states.recall(killed, "s1")
    assert list(kept.states.ended(killed)) == []
    assert kept.states.awaits(kept.runner(), "s1")


async def test_a_session_that_is_gone_leaves_nothing(kept: States) -> None:
    """It is not saved, and what was saved of it is removed."""
    runner = kept.runner()
    for session in ("s1", "s2"):
        kept.states.asked(runner, session, (b"x",))
    kept.gone.add("s1")
    await kept.end(runner)
    assert kept.files() == ["xs2"]
    await kept.states.forget("s2")
    assert kept.files() == []


@pytest.mark.parametrize("fault", ["fails", "hangs", "small"])
async def test_a_save_that_fails_costs_the_state_alone(tmp_path: Path, fault: str) -> None:
    """Nothing is left of it, and it takes no longer than it may."""
    kept = States(tmp_path, timeout=0.01)
    runner = kept.runner()
    kept.states.asked(runner, "s1", (b"x",))
    kept.backend.fault = fault
    await kept.end(runner)
    assert kept.files() == []
    assert not kept.states.awaits(kept.runner(), "s1")


async def test_a_file_that_cannot_be_read_is_removed(kept: States) -> None:
    """Whether it is damaged or the engine refuses it."""
    runner = kept.runner()
    for session in ("s1", "s2"):
        kept.states.asked(runner, session, (b"x",))
    await kept.end(runner)
    damaged = next(path for path in kept.saved.folder.glob("*.slot") if path.read_text() == "xs1")
    damaged.write_text("y")
    runner = kept.runner()
    await kept.states.recall(runner, "s1")
    kept.backend.fault = "fails"
    await kept.states.recall(runner, "s2")
    assert (kept.files(), kept.backend.restored) == ([], [])


async def test_there_are_limits(tmp_path: Path) -> None:
    """Of sessions of one runner, and of a session's text; switched off nothing is noted."""
    kept = States(tmp_path)
    runner = kept.runner()
    kept.states.asked(runner, "large", (b"x" * 2**20,))
    for number in range(100):
        kept.states.asked(runner, f"s{number}", (b"x",))
    await kept.end(runner)
    assert len(kept.files()) == 64
    off = SessionStates(Settings(), SavedSlots(tmp_path / "off", 0), lambda runner: "f")
    off.asked(runner, "s1", (b"x",))
    await off.remember(runner)
    assert list(off.ended(runner)) == []
