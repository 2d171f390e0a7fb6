"""What a runner has evaluated outlives it: saved when it is stopped, restored at the next load.

The engine's own prompt cache is shared by all clients of a runner, so what one of them evaluated
shortens the other one's wait, and `cached_tokens` tells of it.  A swap must not widen that circle:
an entry says who had used the runner that it comes from, and it is restored only into a runner that
is loaded for one of them.  Where too many had used it to be told, nothing is kept.

All of this is a favour.  It takes `slot_timeout` seconds at most, each time, and whatever goes
wrong costs the entry and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from runnerd import tasks
from runnerd.backends.slots import KeepsSlots
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.runner import Runner
from runnerd.saved_slots import Draft, Entry, SavedSlots

log = logging.getLogger(__name__)

MOST_CLIENTS = 64  # of a runner whose slots are kept
_MOST_FILES = 32


@dataclass(slots=True)
class _Life:
    """What is known of one runner: what its slots fit, the entry that it has read, and the draft
    that came to nothing.
    """

    fingerprint: str
    entry: Entry | None = None
    draft: Draft | None = None


class Recollection:
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
        order = runner.order
        try:
            fingerprint = await backend.slot_fingerprint(
                order.model, order.mode, order.configuration
            )
        except (RunnerdError, OSError) as error:
            log.warning("runner %s: its slots are not kept: %s", runner.name, error)
            return
        if fingerprint is None:
            return
        entry = saved.take(fingerprint, clients)
        self._lives[runner] = life = _Life(fingerprint)
        if entry is not None and await self._restore(backend, runner, saved, entry):
            life.entry = entry
            runner.clients |= entry.clients  # any of them may have said what is in there

    async def _restore(
        self, backend: KeepsSlots, runner: Runner, saved: SavedSlots, entry: Entry
    ) -> bool:
        """Return whether the engine has read an entry; one that it has not is of no use."""
        whole = False
        try:
            async with asyncio.timeout(self.settings.slot_timeout):
                if await saved.intact(entry):
                    await backend.restore_slots(runner.socket, entry.names)
                    whole = True
        except (RunnerdError, TimeoutError) as error:
            log.warning("runner %s: saved slots could not be restored: %s", runner.name, error)
        if whole:
            log.info("runner %s: restored %d bytes of slots", runner.name, entry.size)
        else:
            await saved.remove(entry)
        return whole

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
        draft = saved.draft(life.fingerprint, runner.order.model, clients, _MOST_FILES)
        life.draft = draft  # until it is an entry
        try:
            async with asyncio.timeout(self.settings.slot_timeout):
                names = await backend.save_slots(
                    runner.socket, runner.order.model, draft.names, saved.room()
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
        if life.entry is not None:  # what it held and is still there, is saved anew
            await saved.remove(life.entry)
            life.entry = None

    def ended(self, runner: Runner) -> None:
        """A runner's last process is gone: what it had read and did not save anew can be read
        again, and what it wrote in vain is removed.
        """
        life = self._lives.pop(runner, None)
        if self._saved is None or life is None:
            return
        if life.entry is not None:
            self._saved.give_back(life.entry)
        if life.draft is not None:
            chore = tasks.spawn(self._saved.discard(life.draft), name=f"discard {runner.name}")
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def wait_closed(self) -> None:
        """Wait until nothing is left lying about."""
        if self._chores:
            await asyncio.wait(self._chores)

    async def forget(self, model: str) -> None:
        """Drop what was kept of a deleted model."""
        if self._saved is not None:
            await self._saved.forget(model)
