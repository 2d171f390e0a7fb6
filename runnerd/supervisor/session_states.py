"""What an engine has evaluated of each session outlives it, each in a file of its own.

An engine that has more conversations than slots keeps the others in its memory, where they cannot
be saved from, and from where the oldest are dropped when they become too many.  So a session that
would be dropped next, and before the engine ends each one that it has served, is brought back into
a slot, by asking for what was evaluated and for nothing more, and saved from there: the one that
was used last first, for `slot_timeout` seconds in all.  It is restored when that session's next
prompt comes to a runner that can read it.  As with all saved slots, whatever goes wrong costs the
state alone: the engine then evaluates the session's text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from runnerd import tasks, threads
from runnerd.backends.slots import KeepsSlots, SlotMemory
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.runner import Runner
from runnerd.saved_slots import SavedSlots
from runnerd.supervisor.held_conversations import HeldConversations
from runnerd.supervisor.session_life import MOST, Buffer, SessionLife

log = logging.getLogger(__name__)

_MOST_BYTES = 2**20  # of a session's text

LastResponse = Callable[[str], Awaitable[str | None]]


def _client(session: str) -> str:
    """What a session's entries are for; no principal is called so."""
    return f"session {session}"


class SessionStates:
    """Saves and restores sessions of runners whose backend can do that; `lives` has those of each
    runner that has any.

    `fingerprint_of` says what a runner's slots fit, `memory_of` how much it keeps, `last_response`
    what was last answered in a session, None where that is no more.
    """

    def __init__(
        self,
        settings: Settings,
        saved: SavedSlots | None,
        fingerprint_of: Callable[[Runner], str | None],
        memory_of: Callable[[Runner], SlotMemory | None],
    ) -> None:
        self._settings = settings
        self._saved = saved
        self._fingerprint_of = fingerprint_of
        self._memory_of = memory_of
        self.lives: dict[Runner, SessionLife] = {}
        self.last_response: LastResponse | None = None

    # what requests are about

    def awaits(self, runner: Runner, session: str) -> bool:
        """Whether something is kept of a session ("": of none) that a runner does not have, or
        others are being saved at this moment, which another prompt would have it drop.
        """
        life, saved = self.lives.get(runner), self._saved
        if saved is None:
            return False
        if life is not None and (life.busy or not session or session in life.requests):
            return life.busy
        fingerprint = self._fingerprint_of(runner)
        return fingerprint is not None and saved.find(fingerprint, (_client(session),)) is not None

    def asked(self, runner: Runner, session: str, body: tuple[Buffer, ...]) -> None:
        """A runner is asked the next prompt of a session; `body` is all that was said."""
        if self._saved is None or not self._saved.enabled:
            return
        life = self._life(runner)
        size = sum(map(len, body))
        life.used(session)
        life.saved.discard(session)
        life.active.add(session)
        life.held.use(session, size)
        if size < _MOST_BYTES:
            life.requests.note(session, body)
        else:
            life.requests.pop(session, None)

    def served(self, runner: Runner, name: str, tokens: int) -> None:
        """A runner has answered in a conversation, which has so many tokens now: in a session, or
        in any other one that it keeps.
        """
        life = self.lives.get(runner)
        if life is not None and life.held.bounded:
            life.used(name)
            life.held.note(name, tokens)
            if name not in life.active:
                self._make_room(runner, life)

    def settled(self, session: str) -> None:
        """What was answered in a session is written down, or nothing of it will be."""
        for runner, life in self.lives.items():
            if session in life.active:
                life.active.discard(session)
                self._make_room(runner, life)

    async def forget(self, session: str) -> None:
        """Drop what was kept of a session that is no more."""
        for life in self.lives.values():
            life.drop(session)
            life.entries.pop(session, None)
        if self._saved is not None:
            client = _client(session)
            await self._saved.forget(lambda entry: client in entry.clients)

    def _life(self, runner: Runner) -> SessionLife:
        life = self.lives.get(runner)
        if life is None:
            self.lives[runner] = life = SessionLife(HeldConversations(self._memory_of(runner)))
        return life

    # what would be dropped

    def _make_room(self, runner: Runner, life: SessionLife) -> None:
        if life.pushing is None and life.next_out() is not None:
            life.pushing = tasks.spawn(self._push_out(runner, life), name=f"push out {runner.name}")

    async def _push_out(self, runner: Runner, life: SessionLife) -> None:
        try:
            async with life.lock:
                while (session := life.next_out()) is not None:
                    await self._save_one(runner, life, session)
        finally:
            life.pushing = None

    async def _save_one(self, runner: Runner, life: SessionLife, session: str) -> None:
        """Save a session that would be dropped next; from then on it is not in the engine, unless
        it is the last one that was there.
        """
        body, stays, kept = life.requests[session], life.held.is_newest(session), False
        try:
            async with asyncio.timeout(self._settings.slot_timeout):
                kept = await self._save(runner, life, session, forget=not stays)
        except (RunnerdError, OSError) as error:
            reason = "it took too long" if isinstance(error, TimeoutError) else error
            log.warning("runner %s: a session was not saved: %s", runner.name, reason)
            await self._discard(life)
        if life.requests.get(session) is not body:
            return  # it goes on already
        if kept and life.held.is_newest(session):
            life.saved.add(session)
        else:
            life.drop(session)
            self._give_back(life, session)
        if kept:
            log.info("runner %s: saved a session that would be dropped", runner.name)

    def _give_back(self, life: SessionLife, session: str) -> None:
        """What was restored of a session and not saved anew can be restored again."""
        entry = life.entries.pop(session, None)
        if self._saved is not None and entry is not None:
            self._saved.give_back(entry)

    # restoring

    async def recall(self, runner: Runner, session: str) -> None:
        """Let a runner have what was kept of a session, and save first what has to be saved.
        Cancelling leaves the engine to it.
        """
        restoring = tasks.spawn(self._restore(runner, session), name=f"recall {runner.name}")
        await asyncio.shield(restoring)

    async def _restore(self, runner: Runner, session: str) -> None:
        backend, saved, life = runner.backend, self._saved, self._life(runner)
        fingerprint = self._fingerprint_of(runner)
        async with life.lock:
            if not session or session in life.requests or runner not in self.lives:
                return
            life.requests.note(session, ())
            if saved is None or fingerprint is None or not isinstance(backend, KeepsSlots):
                return
            entry = saved.take(fingerprint, (_client(session),))
            if entry is None:
                return
            life.active.add(session)
            while (other := life.next_out(coming=entry.size)) is not None:
                await self._save_one(runner, life, other)
            slot = None
            try:
                async with asyncio.timeout(self._settings.slot_timeout):
                    if await saved.intact(entry):
                        slot = await backend.restore_conversation(
                            runner.socket, entry.names[0], life.restored
                        )
            except (RunnerdError, OSError) as error:  # also of an engine that has just ended
                log.warning("runner %s: a session could not be restored: %s", runner.name, error)
            if slot is None:
                await saved.remove(entry)
                return
            log.info("runner %s: restored a session, %d bytes", runner.name, entry.size)
            life.used(session)
            life.held.note_bytes(session, entry.size)
            life.entries[session] = entry
            life.restored = [each for each in life.restored if each != slot] + [slot]

    # when the engine ends

    async def remember(self, runner: Runner) -> None:
        """Save the sessions of a runner that nobody uses any more, before it is ended.

        Cancelling gives up what is not saved yet.
        """
        life = self.lives.get(runner)
        if life is None:
            return
        kept = 0
        try:
            async with asyncio.timeout(self._settings.slot_timeout), life.lock:
                for session in list(reversed(life.requests))[:MOST]:
                    if session in life.requests and session not in life.saved:
                        kept += await self._save(runner, life, session)
        except (RunnerdError, OSError) as error:
            reason = "it took too long" if isinstance(error, TimeoutError) else error
            log.warning("runner %s: not all sessions were saved: %s", runner.name, reason)
        if kept:
            log.info("runner %s: saved %d sessions", runner.name, kept)

    async def _save(
        self, runner: Runner, life: SessionLife, session: str, *, forget: bool = False
    ) -> bool:
        """Save one session, in the place of what was kept of it before; whether it was."""
        backend, saved, body = runner.backend, self._saved, b"".join(life.requests[session])
        fingerprint, model = self._fingerprint_of(runner), runner.spec.model
        if saved is None or fingerprint is None or self.last_response is None or not body:
            return False
        response = await self.last_response(session)
        if response is None or not isinstance(backend, KeepsSlots):
            return False
        client = _client(session)
        life.draft = draft = saved.draft(fingerprint, model, (client,), 1)
        room = await threads.run(saved.room)
        if not await backend.save_conversation(
            runner.socket, model, body, response, draft.names[0], room, forget=forget
        ):
            await self._discard(life)
            return False
        entry = await saved.keep(draft, draft.names)
        life.draft = None
        life.entries.pop(session, None)
        await saved.forget(
            lambda old: (
                client in old.clients
                and old.fingerprint == fingerprint
                and old.stamp != entry.stamp
            )
        )
        return True

    async def _discard(self, life: SessionLife) -> None:
        """Remove what was written in vain."""
        draft, life.draft = life.draft, None
        if self._saved is not None and draft is not None:
            await self._saved.discard(draft)

    def ended(self, runner: Runner) -> Sequence[Awaitable[None]]:
        """A runner's last process is gone: what it had read and did not save anew can be read
        again; returns what is left to be removed.
        """
        life, saved = self.lives.pop(runner, None), self._saved
        if saved is None or life is None:
            return ()
        for entry in life.entries.values():
            saved.give_back(entry)
        return () if life.pushing is None and life.draft is None else (self._tidy(life),)

    async def _tidy(self, life: SessionLife) -> None:
        if life.pushing is not None:
            await tasks.cancel_and_wait(life.pushing)
        await self._discard(life)
