"""Whether an engine works: asked where the work happens.

llama-server answers `/health` from any of its threads, also when the one that does all the work is
caught in a grammar for minutes.  `/slots` is answered by that thread, between two batches.  So who
answers it works, unless every slot is idle while requests wait: then they are caught before they
get there, in a template for instance.

A batch may take long, of a long prompt on a slow machine.  Many threads compute then; who is caught
in something else is one thread alone.  Where only one can compute, the benefit of the doubt has an
end, as it has for many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from runnerd import tasks
from runnerd.backends.engine_http import answers_ready, ask, engine_process
from runnerd.resources.activity import ThreadTimes, busy_threads, thread_times

DOUBT = 10
"""How often the limit for a hang passes before an engine is ended whose threads still compute."""


class _Slot(msgspec.Struct):
    is_processing: bool = True


_slots = msgspec.json.Decoder(list[_Slot]).decode


class EngineWork:
    """Finds signs of work of one engine.  To be closed.

    `worked_at` is when there last was one, `turned_at` when the working thread last answered, both
    monotonic.  `busy_threads` of a process since two looks: for tests.
    """

    def __init__(
        self,
        engine_socket: Path,
        busy_threads: Callable[[ThreadTimes, ThreadTimes], int] = busy_threads,
    ) -> None:
        self._engine_socket = engine_socket
        self._busy_threads = busy_threads
        self._question: asyncio.Task[bool | None] | None = None
        self._process: int | None = None
        self._times: ThreadTimes = {}
        self.worked_at = self.turned_at = time.monotonic()

    async def close(self) -> None:
        """Ask no more.  Idempotent."""
        question, self._question = self._question, None
        if question is not None:
            await tasks.cancel_and_wait(question)

    def rest(self) -> None:
        """Nobody wants anything of it."""
        self.worked_at = self.turned_at = time.monotonic()

    async def look(self, within: float, *, limit: float) -> bool:
        """Whether the engine's working thread answered within some seconds.

        A question that was not answered stays open for the next look: a batch may take longer than
        the time between two looks.
        """
        question = self._question
        if question is None:
            question = tasks.spawn(_turns(self._engine_socket, within), name="question")
            self._question = question
        await asyncio.wait([question], timeout=within)
        now = time.monotonic()
        if not question.done():
            if await self._computes() and now - self.turned_at < DOUBT * limit:
                self.worked_at = now
            return False
        self._question = None
        response = question.result()
        if response is not None:
            self.turned_at = now
        if response:
            self.worked_at = now
        return response is not None

    async def _computes(self) -> bool:
        """Whether the engine's threads have computed together since the last look."""
        if self._process is None:
            with contextlib.suppress(OSError, TimeoutError):
                self._process = await asyncio.wait_for(engine_process(self._engine_socket), 1)
        if self._process is None:
            return False
        before = self._times
        self._times = await asyncio.to_thread(thread_times, self._process)
        if not before:
            return True  # nothing is known yet
        least = min(2, len(os.sched_getaffinity(0)))
        return self._busy_threads(before, self._times) >= least


async def _turns(engine_socket: Path, within: float) -> bool | None:
    """Whether the working thread has work, once it says so; None: it cannot be asked."""
    try:
        status, body = await ask(engine_socket, "/slots")
    except (OSError, EOFError):
        return None
    if status != 200:
        return await answers_ready(engine_socket, within=within) or None
    try:
        slots = _slots(body)
    except msgspec.MsgspecError:
        return True  # more than is read of it
    return not slots or any(slot.is_processing for slot in slots)
