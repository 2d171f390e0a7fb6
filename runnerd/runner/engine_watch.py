"""Looks at one engine from outside: whether it is ready, whether it hangs, whether it is in reach.

A ready engine that is in use is asked on for its work (`engine_work`), and after that until it is
through with what its last client left.  One that neither works nor sends anything for the whole
`hang_timeout` hangs: its requests are told, and it is killed.  One whose socket is gone answers the
requests that it has, nobody else gets it, and then it has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from runnerd.backends.engine_http import wait_ready
from runnerd.backends.interface import EngineFailure
from runnerd.backends.preload import evaluate
from runnerd.errors import BackendFailure
from runnerd.runner.engine_work import EngineWork
from runnerd.runner.failures import EngineHang, EngineUnreachable
from runnerd.runner.launch import LaunchSpec, RunnerTimeouts

log = logging.getLogger(__name__)

_IDLE_INTERVAL = 0.05  # seconds between two looks whether the last requests have ended
_LOOKS = 6  # at an engine's health within the limit after which it hangs, at least
_MARGIN = 0.5  # of the limit: its last sign of life may be so much older than the look that saw it
_LONGEST_PAUSE = 5.0  # seconds between two of them: the limit may have changed meanwhile

UNASKED = -math.inf
"""An engine is in use and owes nothing: its responses wait for their clients, or are those of other
threads than the one that computes.  So they show nothing either.
"""


class EngineWatch:
    """Watches one engine from its start on.

    `heard_at` says when the engine last sent something (monotonic), None while it is not in use
    and was not since it was last asked, UNASKED while nobody wants anything of it.
    """

    def __init__(
        self,
        runner: str,
        engine_socket: Path,
        spec: LaunchSpec,
        timeouts: RunnerTimeouts,
        heard_at: Callable[[], float | None],
    ) -> None:
        self.loaded = False  # the engine has said that it is ready
        self._runner = runner
        self._engine_socket = engine_socket
        self._spec = spec
        self._timeouts = timeouts
        self._heard_at = heard_at
        self._lost = asyncio.Event()
        self._loss = ""

    def lose(self, reason: str) -> None:
        """Take note that nobody can connect to the engine any more; the first reason counts."""
        if not self._lost.is_set():
            self._loss = reason
            self._lost.set()

    async def wait_ready(self, recall: Callable[[], Awaitable[None]]) -> EngineFailure | None:
        """Wait until the engine may be used; return the failure of one that takes too long.

        As soon as it answers, `recall` gives it back what it had evaluated, and what is to be
        preloaded is evaluated.
        """
        limit = self._timeouts.load_timeout
        try:
            async with asyncio.timeout(limit):
                await wait_ready(self._engine_socket)
                self.loaded = True
                await recall()
                await self._preload()
        except TimeoutError:
            return EngineFailure(
                f"the model was not ready within {limit:g} s (load_timeout)",
                exit_reason="not ready in time",
                loading=True,
            )
        return None

    async def _preload(self) -> None:
        """Evaluate what is to be preloaded; a model serves without that, too."""
        spec = self._spec
        try:
            await evaluate(self._engine_socket, messages=spec.preload, prefix=spec.prefix)
        except BackendFailure as error:
            log.warning("runner %s: nothing preloaded: %s", self._runner, error.message)

    async def wait_failed(self, retiring: Callable[[], None]) -> EngineFailure:
        """Return once a ready engine hangs, or was lost and has answered its last requests.

        `retiring` is called when it is lost: nobody else may have it.
        """
        work = EngineWork(self._engine_socket)
        try:
            return await self._watched(work, retiring)
        finally:
            await work.close()

    async def _watched(self, work: EngineWork, retiring: Callable[[], None]) -> EngineFailure:
        through = True  # with everything that it was asked
        heard = 0.0
        while True:
            pause = min(self._timeouts.hang_timeout / _LOOKS, _LONGEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._lost.wait()
            if self._lost.is_set():
                retiring()
                return await self._unreachable()
            limit, heard_at = self._timeouts.hang_timeout, self._heard_at()
            if through and not _wanted(heard_at):
                work.rest()
                continue
            turns = await work.look(pause, limit=limit)
            later = self._heard_at()
            through = turns and not _wanted(later)
            heard = max(heard, heard_at or 0.0, later or 0.0)
            if through:
                work.rest()  # who is asked next has not been waited for since then
            elif time.monotonic() - max(work.worked_at, heard) >= limit:
                hang = EngineHang(
                    f"the model's engine gave no sign of life for {limit:g} s "
                    "(hang_timeout) and was ended",
                    exit_reason="hang",
                )
                # What only seemed to be work was none, as is known now.
                hang.silent_since = max(work.certain_at, heard) - limit * _MARGIN
                return hang

    async def _unreachable(self) -> EngineUnreachable:
        """Wait until the requests that the engine still answers have ended, or it hangs."""
        limit, began = self._timeouts.hang_timeout, time.monotonic()
        while (heard_at := self._heard_at()) is not None:
            if _wanted(heard_at) and time.monotonic() - max(began, heard_at) >= limit:
                break
            await asyncio.sleep(_IDLE_INTERVAL)
        return EngineUnreachable(
            f"the model's engine could not be reached any more: {self._loss}",
            exit_reason="unreachable",
        )


def _wanted(heard_at: float | None) -> bool:
    """Whether somebody wants something of the engine's working thread."""
    return heard_at not in (None, UNASKED)
