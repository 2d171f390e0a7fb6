"""Who may fetch which file: one job at a time, and the others see how far it is.

A job takes all its turns in one order, the same for every job, so no two can wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from runnerd.models.digest import Digest
from runnerd.pulls.transfer_tasks import TransferTask

_MIRROR_INTERVAL = 0.25  # seconds between looks at the job that is waited for


@dataclass(slots=True)
class _Turn:
    holder: TransferTask | None = None
    users: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)


class FileLocks:
    """The files that are being fetched, by the keys of their parts."""

    def __init__(self) -> None:
        self._turns: dict[Digest, _Turn] = {}

    @asynccontextmanager
    async def take(self, key: Digest, layer: str, job: TransferTask) -> AsyncIterator[None]:
        """Hold a file for `job`; while another one has it, `job` reports that one's progress."""
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            while turn.holder is not None:
                if state := turn.holder.state_of(layer):
                    job.progressed(state.layer, state.layer_size, state.layer_current)
                turn.released.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MIRROR_INTERVAL):
                        await turn.released.wait()
            turn.holder = job
            try:
                yield
            finally:
                turn.holder = None
                turn.released.set()
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(key, None)
