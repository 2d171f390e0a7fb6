"""Runs the jobs of the queue inside the daemon, behind everybody who waits for a response.

It asks for no work that it has not heard of: it claims until there is nothing, then waits for the
queue's word.  Which job gets a place at an engine, and when, is the scheduler's to say: a job's
request stands in its queue as any other, but in the background.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Protocol

from runnerd import tasks
from runnerd.backoff import Backoff
from runnerd.errors import LeaseLost, RunnerdError
from runnerd.jobs.attempt import Inference, JobAttempt
from runnerd.jobs.queue import Claim, Work

log = logging.getLogger(__name__)

LEASE = 60.0  # seconds
_PAUSES = Backoff(0.5, 60.0)  # for jobs that have to make room again and again
_AGAIN = 5.0  # seconds until a database that cannot be used is asked again


class Gate(Protocol):
    """Where jobs wait that have not begun."""

    async def room(self, running: Callable[[], int]) -> int:
        """Wait until jobs may begin beside those that are `running`; return how many may."""
        ...

    def look(self) -> None:
        """A job is not run any more."""
        ...

    def people_first(self) -> bool:
        """Whether there are people beside whom no more than one job is let through."""
        ...


class OpenGate:
    """There is nobody whom jobs could disturb."""

    async def room(self, running: Callable[[], int]) -> int:
        return sys.maxsize

    def look(self) -> None: ...

    def people_first(self) -> bool:
        return False


class Worker:
    """Owns the attempts that run, from `open` to `close`.

    `at_once` says how many there may be, read each time; at the `gate` it waits before jobs are
    claimed.
    """

    def __init__(
        self,
        queue: Work,
        inference: Inference,
        *,
        at_once: Callable[[], int],
        gate: Gate | None = None,
        name: str = "daemon",
    ) -> None:
        self._queue = queue
        self._inference = inference
        self._at_once = at_once
        self._gate = gate or OpenGate()
        self._name = name
        self._displaced: dict[str, int] = {}  # how often jobs had to make room
        self._running: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._room = asyncio.Event()
        self._claiming: asyncio.Task[None] | None = None
        self._extending: asyncio.Task[None] | None = None
        queue.tell_of_losses(self._lost)

    @property
    def running(self) -> int:
        """How many jobs are worked on."""
        return len(self._running)

    def open(self) -> None:
        """Begin to work."""
        self._claiming = tasks.spawn(self._work(), name="jobs")
        self._extending = tasks.spawn(self._extend(), name="leases of jobs")

    def settings_changed(self) -> None:
        """There may be room for more jobs now."""
        self._room.set()

    async def _work(self) -> None:
        trouble = ""  # what was last said to keep jobs from work: each is said once
        while True:
            room = self._at_once() - len(self._running)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                room = min(room, await self._gate.room(lambda: self.running))
                claims = await self._claims(room)
            except RunnerdError as error:
                if error.message != trouble:
                    trouble = error.message
                    log.warning("jobs wait: %s; trying again until it answers", trouble)
                await asyncio.sleep(_AGAIN)
                continue
            if trouble:
                trouble = ""
                log.info("jobs are worked on again")
            for claim in claims:
                self._start(claim)
            if not claims:
                await self._queue.wait_for_work(self._name)

    async def _claims(self, room: int) -> list[Claim]:
        """Claim jobs.  Whoever is called off meanwhile gives them back."""
        asking = self._queue.claim(self._name, limit=room, lease=LEASE)
        claiming = tasks.spawn(asking, name="claim jobs", quiet=True)  # `_work` says what fails
        if await tasks.outlast(claiming):
            if claiming.exception() is None:
                await self._give_back(claiming.result())
            raise asyncio.CancelledError
        return claiming.result()

    async def _give_back(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            try:
                await self._queue.release(claim)
            except RunnerdError as error:  # it has ended meanwhile, or will be recovered
                log.debug("job %s was not given back: %s", claim.job.id, error.message)

    def _start(self, claim: Claim) -> None:
        id = claim.job.id
        pause = _PAUSES.pause(1 + self._displaced.get(id, 0))
        attempt = JobAttempt(
            self._queue,
            self._inference,
            claim,
            pause=pause,
            gives_way=self._gate.people_first,
        )
        task = tasks.spawn(attempt.run(), name=f"job {id}")
        self._running[id] = claim, task
        task.add_done_callback(lambda _: self._ended(claim, displaced=attempt.displaced))

    def _ended(self, claim: Claim, *, displaced: bool) -> None:
        count = self._displaced.pop(claim.job.id, 0)
        if displaced:
            self._displaced[claim.job.id] = count + 1
        found = self._running.get(claim.job.id)
        if found is not None and found[0] is claim:
            del self._running[claim.job.id]
        self._room.set()
        self._gate.look()

    def _lost(self, id: str, token: int) -> None:
        """A job is not this worker's any more: its engine is not asked any longer."""
        found = self._running.get(id)
        if found is not None and found[0].token == token:
            found[1].cancel()

    async def _extend(self) -> None:
        """Let the queue know from time to time that this worker is alive."""
        while True:
            await asyncio.sleep(LEASE / 3)
            for claim, task in list(self._running.values()):
                try:
                    await self._queue.extend(claim, LEASE)
                except LeaseLost:
                    task.cancel()
                except RunnerdError as error:
                    log.debug("a lease could not be extended: %s", error.message)

    async def drain(self, patience: float) -> None:
        """Take no further job, and let those that run end, for at most `patience` seconds."""
        await self._stop_claiming()
        running = [task for _, task in self._running.values()]
        if running:
            await asyncio.wait(running, timeout=patience)

    async def _stop_claiming(self) -> None:
        claiming, self._claiming = self._claiming, None
        if claiming is not None:
            await tasks.cancel_and_wait(claiming)

    async def close(self) -> None:
        """Give back what has not ended.  Idempotent."""
        await self._stop_claiming()
        extending, self._extending = self._extending, None
        if extending is not None:
            await tasks.cancel_and_wait(extending)
        running = list(self._running.values())
        for _, task in running:
            task.cancel()
        if running:
            await asyncio.wait([task for _, task in running])
        await self._give_back(claim for claim, _ in running)
