"""What an engine has evaluated of each session outlives it, each in a file of its own.

An engine that has more conversations than slots keeps the others in its memory, where they cannot
be saved from.  So before it ends, each session that it has served is brought back into a slot, by
asking for what it has evaluated and for nothing more, and saved from there: the one that was used
last first, for `slot_timeout` seconds in all.  It is restored when that session's next prompt comes
to a runner that can read it.  As with all saved slots, whatever goes wrong costs the state alone:
the engine then evaluates the session's text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from runnerd import tasks, threads
from runnerd.backends.slots import KeepsSlots
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.lru import Lru
from runnerd.runner import Runner
from runnerd.saved_slots import Draft, Entry, SavedSlots

log = logging.getLogger(__name__)

_MOST = 64  # sessions of one runner that are saved
_MOST_BYTES = 2**20  # of a session's text

Buffer = bytes | bytearray | memoryview
LastResponse = Callable[[str], Awaitable[str | None]]


def _client(session: str) -> str:
    """What a session's entries are for; no principal is called so."""
    return f"session {session}"


@dataclass(slots=True)
class _Life:
    """What one runner knows of sessions: their last requests, and the entries that it has read."""

    requests: Lru[str, tuple[Buffer, ...]] = field(default_factory=lambda: Lru(_MOST))
    entries: dict[str, Entry] = field(default_factory=dict)
    restored: list[int] = field(default_factory=list)  # slots, the last one last
    draft: Draft | None = None


class SessionStates:
    """Saves and restores sessions of runners whose backend can do that.

    `fingerprint_of` says what a runner's slots fit, `last_response` what was last answered in a
    session, None where that is no more.
    """

    def __init__(
        self,
        settings: Settings,
        saved: SavedSlots | None,
        fingerprint_of: Callable[[Runner], str | None],
    ) -> None:
        self._settings = settings
        self._saved = saved
        self._fingerprint_of = fingerprint_of
        self._lives: dict[Runner, _Life] = {}
        self.last_response: LastResponse | None = None

    def awaits(self, runner: Runner, session: str) -> bool:
        """Whether something is kept of a session that a runner has not served yet."""
        life, saved = self._lives.get(runner), self._saved
        if saved is None or (life is not None and session in life.requests):
            return False
        fingerprint = self._fingerprint_of(runner)
        return fingerprint is not None and saved.find(fingerprint, (_client(session),)) is not None

    def asked(self, runner: Runner, session: str, body: tuple[Buffer, ...]) -> None:
        """A runner is asked the next prompt of a session; `body` is all that was said."""
        if self._saved is not None and self._saved.enabled and sum(map(len, body)) < _MOST_BYTES:
            self._lives.setdefault(runner, _Life()).requests.note(session, body)

    async def recall(self, runner: Runner, session: str) -> None:
        """Let a runner have what was kept of a session.  Cancelling leaves the engine to it."""
        self._lives.setdefault(runner, _Life()).requests.note(session, ())
        restoring = tasks.spawn(self._restore(runner, session), name=f"recall {runner.name}")
        await asyncio.shield(restoring)

    async def _restore(self, runner: Runner, session: str) -> None:
        backend, saved = runner.backend, self._saved
        fingerprint = self._fingerprint_of(runner)
        if saved is None or fingerprint is None or not isinstance(backend, KeepsSlots):
            return
        entry = saved.take(fingerprint, (_client(session),))
        if entry is None:
            return
        life = self._lives.setdefault(runner, _Life())
        slot = None
        try:
            async with asyncio.timeout(self._settings.slot_timeout):
                if await saved.intact(entry):
                    slot = await backend.restore_conversation(
                        runner.socket, entry.names[0], life.restored
                    )
        except (RunnerdError, TimeoutError) as error:
            log.warning("runner %s: a session could not be restored: %s", runner.name, error)
        if slot is None:
            await saved.remove(entry)
            return
        log.info("runner %s: restored a session, %d bytes", runner.name, entry.size)
        life.entries[session] = entry
        life.restored = [each for each in life.restored if each != slot] + [slot]

    async def remember(self, runner: Runner) -> None:
        """Save the sessions of a runner that nobody uses any more, before it is ended.

        Cancelling gives up what is not saved yet.
        """
        backend, saved, life = runner.backend, self._saved, self._lives.get(runner)
        fingerprint = self._fingerprint_of(runner)
        if saved is None or life is None or fingerprint is None:
            return
        if self.last_response is None or not isinstance(backend, KeepsSlots):
            return
        kept = 0
        try:
            async with asyncio.timeout(self._settings.slot_timeout):
                for session, body in reversed(list(life.requests.items())):
                    response = await self.last_response(session)
                    if response is None or not body:
                        continue
                    kept += await self._save(
                        backend, runner, life, (session, fingerprint, b"".join(body), response)
                    )
        except (RunnerdError, OSError) as error:
            reason = "it took too long" if isinstance(error, TimeoutError) else error
            log.warning("runner %s: not all sessions were saved: %s", runner.name, reason)
        if kept:
            log.info("runner %s: saved %d sessions", runner.name, kept)

    async def _save(
        self, backend: KeepsSlots, runner: Runner, life: _Life, what: tuple[str, str, bytes, str]
    ) -> bool:
        """Save one session, in the place of what was kept of it before."""
        saved = self._saved
        assert saved is not None
        session, fingerprint, body, response = what
        client, model = _client(session), runner.spec.model
        life.draft = draft = saved.draft(fingerprint, model, (client,), 1)
        room = await threads.run(saved.room)
        if not await backend.save_conversation(
            runner.socket, model, body, response, draft.names[0], room
        ):
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

    def ended(self, runner: Runner) -> Sequence[Awaitable[None]]:
        """A runner's last process is gone: what it had read and did not save anew can be read
        again; returns what is left to be removed.
        """
        life, saved = self._lives.pop(runner, None), self._saved
        if saved is None or life is None:
            return ()
        for entry in life.entries.values():
            saved.give_back(entry)
        return () if life.draft is None else (saved.discard(life.draft),)

    async def forget(self, session: str) -> None:
        """Drop what was kept of a session that is no more."""
        for life in self._lives.values():
            life.requests.pop(session, None)
            life.entries.pop(session, None)
        if self._saved is not None:
            client = _client(session)
            await self._saved.forget(lambda entry: client in entry.clients)
