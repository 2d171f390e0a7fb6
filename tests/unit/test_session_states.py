"""What engines had evaluated of sessions: saved one by one, restored for each alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.backends.slots import SlotMemory
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
    saved: list[tuple[str, bool]] = field(default_factory=list)
    slot: int = 0

    async def slot_fingerprint(self, *args: Any) -> str | None: ...

    async def save_slots(self, *args: Any) -> list[str]:
        return []

    async def restore_slots(self, *args: Any) -> int:
        return 0

    async def slot_memory(self, *args: Any) -> SlotMemory | None: ...

    async def save_conversation(
        self,
        socket: Path,
        model: str,
        request: bytes,
        response: str,
        name: str,
        room: int,
        *,
        forget: bool = False,
    ) -> bool:
        self.saved.append((response, forget))
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
        if self.fault == "has ended":
            raise FileNotFoundError
        self.restored.append(((self.folder / name).read_text(), list(restored)))
        self.slot += 1
        return self.slot


class States:
    """Session states over a folder, whose sessions have answered their own names."""

    def __init__(
        self, folder: Path, timeout: float = 5.0, memory: SlotMemory | None = None
    ) -> None:
        self.saved = SavedSlots(folder, 10**6)
        self.saved.open()
        self.backend = Backend(folder)
        settings = Settings(slot_timeout=timeout)
        self.states = SessionStates(settings, self.saved, lambda runner: "f", lambda runner: memory)
        self.gone: set[str] = set()
        self.states.last_response = self._last_response

    async def _last_response(self, session: str) -> str | None:
        return None if session in self.gone else session

    def runner(self) -> Any:
        spec = SimpleNamespace(model="m")
        return cast(Any, _Runner(backend=self.backend, socket=Path("r.sock"), name="r", spec=spec))

    async def turn(self, runner: Any, session: str, tokens: int = 1, text: str = "x") -> bool:
        """A prompt is answered; whether something was restored or waited for before."""
        awaited = self.states.awaits(runner, session)
        if awaited:
            await self.states.recall(runner, session)
        self.states.asked(runner, session, (text.encode(),))
        self.states.served(runner, session, tokens)
        self.states.settled(session)
        while self.states.lives[runner].busy:
            await asyncio.sleep(0)
        return awaited

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


async def test_an_engine_that_ends_meanwhile(kept: States) -> None:
    """Its folder is gone; that is no mistake of anybody's."""
    runner = kept.runner()
    kept.states.asked(runner, "s1", (b"x",))
    await kept.end(runner)
    runner = kept.runner()
    kept.backend.fault = "has ended"
    await kept.states.recall(runner, "s1")
    assert kept.backend.restored == []


async def test_there_are_limits(tmp_path: Path) -> None:
    """Of sessions of one runner, and of a session's text; switched off nothing is noted."""
    kept = States(tmp_path)
    runner = kept.runner()
    kept.states.asked(runner, "large", (b"x" * 2**20,))
    for number in range(100):
        kept.states.asked(runner, f"s{number}", (b"x",))
    await kept.end(runner)
    assert len(kept.files()) == 64
    nothing = SavedSlots(tmp_path / "off", 0)
    off = SessionStates(Settings(), nothing, lambda runner: "f", lambda runner: None)
    off.asked(runner, "s1", (b"x",))
    await off.remember(runner)
    assert list(off.ended(runner)) == []


MEMORY = SlotMemory(room_bytes=3 * 4096 + 300, token_bytes=100)  # of three sessions of one token


async def test_what_would_be_dropped_is_saved_before(tmp_path: Path) -> None:
    """The one that was used longest ago; it is restored for its next prompt, and another goes."""
    kept = States(tmp_path, memory=MEMORY)
    runner = kept.runner()
    for session in ("s1", "s2", "s3"):
        assert not await kept.turn(runner, session)
    assert kept.backend.saved == []
    await kept.turn(runner, "s4")
    assert kept.backend.saved == [("s1", True)]
    assert not await kept.turn(runner, "s2")
    assert await kept.turn(runner, "s1")
    assert kept.backend.restored == [("xs1", [])]
    assert kept.backend.saved == [("s1", True), ("s3", True)]
    assert not await kept.turn(runner, "s4")
    await kept.end(runner)  # what is saved as it is, is not saved again
    assert kept.files() == ["xs1", "xs2", "xs3", "xs4"]
    assert len(kept.backend.saved) == 5


async def test_other_conversations_take_room(tmp_path: Path) -> None:
    """Those that are nobody's session go without being saved."""
    kept = States(tmp_path, memory=MEMORY)
    runner = kept.runner()
    await kept.turn(runner, "s1")
    for number in range(2):
        kept.states.served(runner, f"request {number}", 1)
    assert kept.backend.saved == []
    await kept.turn(runner, "s2")
    assert kept.backend.saved == [("s1", True)]
    for number in range(5):
        await kept.turn(runner, "s2")
        kept.states.served(runner, f"more {number}", 1)
    assert kept.backend.saved == [("s1", True)]
    assert not await kept.turn(runner, "s2")


async def test_one_that_is_too_much_alone(tmp_path: Path) -> None:
    """It is saved as soon as it was answered, and goes on where it is until somebody else comes."""
    kept = States(tmp_path, memory=SlotMemory(room_bytes=0, token_bytes=100))
    runner = kept.runner()
    assert not await kept.turn(runner, "s1")
    assert not await kept.turn(runner, "s1", text="more")
    assert kept.files() == ["mores1"]
    assert not await kept.turn(runner, "s2")
    assert await kept.turn(runner, "s1", text="and more")
    assert kept.backend.restored == [("mores1", [])]
    assert {forget for _, forget in kept.backend.saved} == {False}


async def test_one_that_goes_on_is_not_saved(tmp_path: Path) -> None:
    """While a session is answered it is in use, however much room is wanted."""
    kept = States(tmp_path, memory=MEMORY)
    runner = kept.runner()
    kept.states.asked(runner, "s1", (b"x",))
    for session in ("s2", "s3", "s4", "s5"):
        await kept.turn(runner, session)
    assert [session for session, _ in kept.backend.saved] == ["s2", "s3"]
    kept.states.served(runner, "s1", 1)
    kept.states.settled("s1")
    assert not kept.states.awaits(runner, "s1")


async def test_a_push_that_fails_costs_the_state_alone(tmp_path: Path) -> None:
    """It is tried once; the session's text is evaluated at its next prompt."""
    kept = States(tmp_path, memory=MEMORY)
    runner = kept.runner()
    kept.backend.fault = "fails"
    for session in ("s1", "s2", "s3", "s4"):
        await kept.turn(runner, session)
    assert kept.backend.saved == [("s1", True)]
    assert (kept.files(), await kept.turn(runner, "s1")) == ([], False)


async def test_the_end_calls_off_what_is_being_saved(tmp_path: Path) -> None:
    """Nothing is left of it."""
    kept = States(tmp_path, memory=MEMORY)
    runner = kept.runner()
    for session in ("s1", "s2", "s3"):
        await kept.turn(runner, session)
    kept.backend.fault = "hangs"
    kept.states.asked(runner, "s4", (b"x",))
    kept.states.served(runner, "s4", 1)
    kept.states.settled("s4")
    while not kept.backend.saved:
        await asyncio.sleep(0)
    assert kept.states.awaits(runner, "s4")  # whoever comes waits, in a session or not
    assert kept.states.awaits(runner, "")
    for chore in kept.states.ended(runner):
        await chore
    assert kept.files() == []
