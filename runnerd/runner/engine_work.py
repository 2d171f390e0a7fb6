"""Whether an engine works: asked where the work happens.

llama-server answers `/health` from any of its threads, also when the one that does all the work is
caught in a grammar for minutes.  `/slots` is answered by that thread, between two batches and, in
newer engines, while it waits for one.  So who answers it works, unless every slot is idle while
requests wait: then they are caught before they get there, in a template for instance.

A batch may take long, of a long prompt on a slow machine.  An engine that answers meanwhile says
that it processes, and nothing else changes.  If no thread computes either, the batch hangs in a
driver for instance.  In one that does not answer, many threads compute; who is caught in something
else is one thread alone.  Where only one can compute, the benefit of the doubt has an end, as it
has for many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from runnerd import tasks, threads
from runnerd.backends.engine_http import answers_ready, ask, engine_process
from runnerd.resources.activity import ThreadTimes, busy_threads, thread_times

DOUBT = 10
"""How often the limit for a hang passes before an engine is ended that only seems to compute."""


class _Slot(msgspec.Struct):
    is_processing: bool = True


_slots = msgspec.json.Decoder(list[_Slot]).decode


class _Response(NamedTuple):
    """Whether the working thread has work; its slots as it shows them, None where it has none."""

    works: bool
    slots: bytes | None = None


class EngineWork:
    """Finds signs of work of one engine.  To be closed.

    `worked_at` is when there last was one, the benefit of the doubt included; `certain_at`, when
    there last was one beyond doubt; `turned_at`, when the working thread last answered: all
    monotonic.  `busy_threads` of a process since two looks: for tests.
    """

    def __init__(
        self,
        engine_socket: Path,
        busy_threads: Callable[[ThreadTimes, ThreadTimes], int] = busy_threads,
    ) -> None:
        self._engine_socket = engine_socket
        self._busy_threads = busy_threads
        self._question: asyncio.Task[_Response | None] | None = None
        self._slots: bytes | None = None
        self._process: int | None = None
        self._times: ThreadTimes = {}
        self.rest()

    async def close(self) -> None:
        """Ask no more.  Idempotent."""
        question, self._question = self._question, None
        if question is not None:
            await tasks.cancel_and_wait(question)

    def rest(self) -> None:
        """Nobody wants anything of it."""
        self.worked_at = self.certain_at = time.monotonic()
        self.turned_at = self._changed_at = self.worked_at

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
            together = min(2, len(os.sched_getaffinity(0)))
            if await self._computes(least=together) and now - self.turned_at < DOUBT * limit:
                self.worked_at = now
            return False
        self._question = None
        response = question.result()
        if response is None:
            return False
        self.turned_at = now
        if response.slots is None or response.slots != self._slots:
            self._slots, self._changed_at = response.slots, now
            if response.works:
                self.certain_at = now
        if response.works and await self._may_work(now - self._changed_at, DOUBT * limit):
            self.worked_at = now
        return True

    async def _may_work(self, unchanged: float, doubt: float) -> bool:
        """Whether an engine works whose slots have not changed for some seconds."""
        if unchanged < doubt:
            self._times = {}
            return True
        return unchanged < DOUBT * doubt and await self._computes(least=1)

    async def _computes(self, *, least: int) -> bool:
        """Whether as many of the engine's threads have computed since the last look."""
        if self._process is None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    self._process = await engine_process(self._engine_socket)
        if self._process is None:
            return False
        before = self._times
        self._times = await threads.run(thread_times, self._process)
        if not before:
            return True  # nothing is known yet
        return self._busy_threads(before, self._times) >= least


async def _turns(engine_socket: Path, within: float) -> _Response | None:
    """What the working thread says, once it says something; None: it cannot be asked."""
    try:
        status, body = await ask(engine_socket, "/slots")
    except (OSError, EOFError):
        return None
    if status != 200:
        return _Response(True) if await answers_ready(engine_socket, within=within) else None
    try:
        slots = _slots(body)
    except msgspec.MsgspecError:
        return _Response(True)  # more than is read of it
    return _Response(not slots or any(slot.is_processing for slot in slots), body or None)
