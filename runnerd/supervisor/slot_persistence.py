"""What a runner has evaluated outlives it: saved when it is stopped, restored at the next load.

The engine's own prompt cache is shared by all clients of a runner, so what one of them evaluated
shortens the other one's wait, and `cached_tokens` tells of it.  A swap must not widen that circle:
an entry says who had used the runner that it comes from, and it is restored only when one of them
uses a runner again: the one for whom it is loaded, or who comes to it later.  Where too many had
used it to be told, nothing is kept.

All of this is a favour.  It takes `slot_timeout` seconds at most, each time, and whatever goes
wrong costs the entry and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runnerd import tasks, threads
from runnerd.backends.slots import KeepsSlots, SlotMemory
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.runner import Runner
from runnerd.saved_slots import Draft, Entry, SavedSlots

log = logging.getLogger(__name__)

MOST_CLIENTS = 64  # of a runner whose slots are kept
_MOST_FILES = 32


@dataclass(slots=True)
class _Life:
    """What is known of one runner: what its slots fit, how much it keeps, the entries that it has
    read, and the draft that came to nothing.
    """

    fingerprint: str
    memory: SlotMemory | None = None
    entries: list[Entry] = field(default_factory=list)
    draft: Draft | None = None


class SlotPersistence:
    """Saves and restores the slots of runners whose backend can do that."""

    def __init__(self, settings: Settings, saved: SavedSlots | None) -> None:
        self.settings = settings
        self._saved = saved
        self._lives: dict[Runner, _Life] = {}
        self._chores: set[asyncio.Task[None]] = set()

    async def recall(self, runner: Runner, clients: Iterable[str]) -> None:
        """Let a runner that is not yet in use have what a client of it had evaluated before."""
        backend, saved = runner.backend, self._saved
        if saved is None or not saved.enabled or not isinstance(backend, KeepsSlots):
            return
        spec = runner.spec
        try:
            fingerprint = await backend.slot_fingerprint(spec.model, spec.mode, spec.configuration)
            memory = await backend.slot_memory(spec.model, spec.mode, spec.configuration)
        except (RunnerdError, OSError) as error:
            log.warning("runner %s: its slots are not kept: %s", runner.name, error)
            return
        if fingerprint is None:
            return
        self._lives[runner] = _Life(fingerprint, memory)
        await self._restore(backend, runner, saved, clients)

    def fingerprint(self, runner: Runner) -> str | None:
        """What a runner's slots fit, None where they are not kept."""
        life = self._lives.get(runner)
        return None if life is None else life.fingerprint

    def memory(self, runner: Runner) -> SlotMemory | None:
        """How much a runner keeps of conversations, None where that is not known."""
        life = self._lives.get(runner)
        return None if life is None else life.memory

    def awaits(self, runner: Runner, client: str) -> bool:
        """Return whether something is kept that a client who is new to a runner had evaluated."""
        life = self._lives.get(runner)
        if self._saved is None or life is None:
            return False
        return self._saved.find(life.fingerprint, (client,)) is not None

    async def recall_more(self, runner: Runner, client: str) -> None:
        """Let a runner that serves already have what a client who is new to it had evaluated.

        Cancelling leaves the engine to it.
        """
        if self._saved is not None and isinstance(runner.backend, KeepsSlots):
            restoring = self._restore(runner.backend, runner, self._saved, (client,))
            await asyncio.shield(self._spawn(restoring, f"recall {runner.name}"))

    async def _restore(
        self, backend: KeepsSlots, runner: Runner, saved: SavedSlots, clients: Iterable[str]
    ) -> None:
        """Have the engine read an entry, if there is one; what it could not read is of no use."""
        life = self._lives.get(runner)
        entry = None if life is None else saved.take(life.fingerprint, clients)
        if life is None or entry is None:
            return
        restored = None
        try:
            async with asyncio.timeout(self.settings.slot_timeout):
                if await saved.intact(entry):
                    restored = await backend.restore_slots(runner.socket, entry.names)
        except (RunnerdError, TimeoutError) as error:
            log.warning("runner %s: saved slots could not be restored: %s", runner.name, error)
        except asyncio.CancelledError:  # mostly because the engine has ended, perhaps of this
            self._spawn(saved.remove(entry), f"discard {runner.name}")
            raise
        if restored is None:
            await saved.remove(entry)
        elif not restored:
            saved.give_back(entry)
        else:
            log.info("runner %s: restored %d slots", runner.name, restored)
            life.entries.append(entry)
            runner.clients |= entry.clients  # any of them may have said what is in there

    async def remember(self, runner: Runner) -> None:
        """Save the slots of a runner that nobody uses any more, before it is ended.

        Cancelling gives it up and leaves nothing behind.
        """
        backend, saved = runner.backend, self._saved
        life = self._lives.get(runner)
        if saved is None or life is None or not isinstance(backend, KeepsSlots):
            return
        clients = runner.clients
        if not clients or "" in clients or len(clients) > MOST_CLIENTS:
            return
        draft = saved.draft(life.fingerprint, runner.spec.model, clients, _MOST_FILES)
        life.draft = draft  # until it is an entry
        try:
            async with asyncio.timeout(self.settings.slot_timeout):
                room = await threads.run(saved.room)
                names = await backend.save_slots(
                    runner.socket, runner.spec.model, draft.names, room
                )
                if not names:
                    return
                entry = await saved.keep(draft, names)
        except (RunnerdError, OSError) as error:
            reason = "it took too long" if isinstance(error, TimeoutError) else error
            log.warning("runner %s: its slots were not saved: %s", runner.name, reason)
            return
        log.info("runner %s: saved %d bytes of slots", runner.name, entry.size)
        life.draft = None
        while life.entries:  # what they held and is still there, is saved anew
            await saved.remove(life.entries.pop())

    def ended(self, runner: Runner, chores: Sequence[Awaitable[None]] = ()) -> None:
        """A runner's last process is gone: what it had read and did not save anew can be read
        again, and what it wrote in vain is removed.  `chores` are carried out as well.
        """
        for chore in chores:
            self._spawn(_done(chore), f"discard {runner.name}")
        life = self._lives.pop(runner, None)
        if self._saved is None or life is None:
            return
        for entry in life.entries:
            self._saved.give_back(entry)
        if life.draft is not None:
            self._spawn(self._saved.discard(life.draft), f"discard {runner.name}")

    def _spawn(self, chore: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = tasks.spawn(chore, name=name)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    async def wait_closed(self) -> None:
        """Wait until nothing is left lying about."""
        if self._chores:
            await asyncio.wait(self._chores)

    async def forget(self, load: str) -> None:
        """Drop what was kept of a load that is no more."""
        if self._saved is not None:
            await self._saved.forget(lambda entry: entry.model == load)


async def _done(chore: Awaitable[None]) -> None:
    await chore
