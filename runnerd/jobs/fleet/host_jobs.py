"""The fleet's jobs on one host: as many as it has slots for, of models that it has.

The worker is the daemon's own (`jobs/worker`), with the fleet's queue and a daemon behind a socket.
What is claimed is chosen here: jobs for models that are loaded as long as there are any, others
when the host has nothing else to do, or has not looked at them for a quantum.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Collection
from uuid import uuid4

from runnerd import tasks
from runnerd.jobs.fleet.daemon_client import DaemonAway, DaemonClient, HostView
from runnerd.jobs.fleet.remote_inference import RemoteInference
from runnerd.jobs.queue import Claim, LossListener, Queue
from runnerd.jobs.worker import Worker

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 1.0  # seconds


class HostJobs:
    """Works on the fleet's jobs from `open` to `close`."""

    def __init__(
        self,
        queue: Queue,
        daemon: DaemonClient,
        *,
        kept_free: int = 1,
        most: int = 64,
        quantum: float = 60.0,
    ) -> None:
        self._daemon = daemon
        self._kept_free = kept_free
        self._most = most
        self._view = HostView()
        self._is_away = True
        self._choice = ModelChoice(queue, lambda: self._view, quantum)
        self.worker = Worker(
            self._choice,
            RemoteInference(daemon),
            at_once=self.at_once,
            name=f"{socket.gethostname()}-{uuid4().hex[:8]}",
        )
        self._looking: asyncio.Task[None] | None = None

    def at_once(self) -> int:
        """How many jobs this host may have at the moment."""
        if self._is_away:
            return 0
        loaded = self._view.loaded.values()
        if not loaded:
            return 1
        others = max(0, sum(each.requests for each in loaded) - self.worker.running)
        kept = sum(self._kept_free for each in loaded if each.slots > 1)
        free = sum(each.slots for each in loaded) - others - kept
        return max(0, min(free, self._most))

    def open(self) -> None:
        """Begin to look at the host, and to work."""
        self._looking = tasks.spawn(self._keep_looking(), name="look at the host")
        self.worker.open()

    def see(self, view: HostView) -> None:
        """Go by what the host has now."""
        self._view = view
        self._is_away = False

    async def _keep_looking(self) -> None:
        while True:
            try:
                self.see(await self._daemon.look())
            except DaemonAway as error:
                if not self._is_away:
                    log.warning("taking no jobs: %s", error.message)
                self._is_away = True
            self._choice.idle = self.worker.running == 0
            self.worker.settings_changed()
            await asyncio.sleep(_LOOK_INTERVAL)

    async def drain(self, patience: float) -> None:
        """Take nothing new, and let what runs end, for so many seconds."""
        await self.worker.drain(patience)

    async def close(self) -> None:
        """Give back what has not ended."""
        await self.worker.close()
        if self._looking is not None:
            await tasks.cancel_and_wait(self._looking)


class ModelChoice:
    """A queue out of which only jobs for models of one host are claimed."""

    def __init__(self, queue: Queue, view: Callable[[], HostView], quantum: float) -> None:
        self._queue = queue
        self._view = view
        self._quantum = quantum
        self._looked_at_others = -quantum
        self.idle = True
        self.wait_for_work = queue.wait_for_work
        self.extend = queue.extend
        self.append = queue.append
        self.finish = queue.finish
        self.fail = queue.fail
        self.release = queue.release
        self.waits = queue.waits

    async def claim(
        self,
        worker: str,
        *,
        limit: int = 1,
        lease: float = 60.0,
        models: Collection[str] | None = None,
    ) -> list[Claim]:
        """Take jobs of loaded models, else one of another."""
        view = self._view()
        loaded = [name for name, id in view.names.items() if id in view.loaded]
        claims = await self._queue.claim(worker, limit=limit, lease=lease, models=loaded)
        now = time.monotonic()
        if claims and now - self._looked_at_others < self._quantum:
            return claims
        if not self.idle and now - self._looked_at_others < self._quantum:
            return claims
        self._looked_at_others = now
        if len(claims) < limit:
            others = [name for name, id in view.names.items() if id not in view.loaded]
            claims += await self._queue.claim(worker, limit=1, lease=lease, models=others)
            self.idle = False
        return claims

    def tell_of_losses(self, listener: LossListener) -> None:
        """As the queue does."""
        self._queue.tell_of_losses(listener)
