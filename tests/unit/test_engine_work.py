"""What counts as a sign of work, and for how long."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runnerd.resources.activity import busy_threads, thread_times
from runnerd.runner.engine_work import DOUBT, EngineWork

SHORT, LONG = 0.01, 60.0


class Engine:
    """Answers `/slots` when it may, with these slots."""

    def __init__(self) -> None:
        self.turns = asyncio.Event()
        self.questions = 0
        self.status = 200
        self.slots: object = [{"is_processing": True}]

    async def response(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/slots" in head:
                self.questions += 1
                await self.turns.wait()
            status = self.status if b"/slots" in head else 200
            body = json.dumps(self.slots).encode()
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
            )
        except asyncio.IncompleteReadError:
            pass  # it was only asked whose it is
        finally:
            writer.close()


@asynccontextmanager
async def engine_at(socket: Path) -> AsyncIterator[Engine]:
    engine = Engine()
    async with await asyncio.start_unix_server(engine.response, path=str(socket)):
        yield engine
    socket.unlink(missing_ok=True)


async def test_who_answers_works_unless_all_slots_are_idle(tmp_path: Path) -> None:
    """A backend without slots is alive as long as it says so."""
    async with engine_at(tmp_path / "e") as engine:
        engine.turns.set()
        work = EngineWork(tmp_path / "e")
        for slots, status, works in (
            ([{"is_processing": False}, {"is_processing": True}], 200, True),
            ([{"is_processing": False}], 200, False),
            ([{"id": 1}], 200, True),
            ("no slots", 200, True),
            ({}, 501, True),
        ):
            engine.slots, engine.status = slots, status
            work.worked_at = 0.0
            assert await work.look(LONG, limit=LONG)
            assert bool(work.worked_at) is works
        await work.close()


@pytest.mark.parametrize("busy", [0, 1, 2, 8])
async def test_only_threads_together_are_given_time(tmp_path: Path, busy: int) -> None:
    """For a batch that takes longer than the time between two looks; the question stays open."""
    async with engine_at(tmp_path / "e") as engine:
        work = EngineWork(tmp_path / "e", lambda before, after: busy)
        began = work.certain_at
        assert not await work.look(SHORT, limit=LONG)  # nothing to compare with yet
        work.worked_at = 0.0
        assert not await work.look(SHORT, limit=LONG)
        computes = busy >= min(2, len(os.sched_getaffinity(0)))
        assert bool(work.worked_at) is computes
        assert work.certain_at == began, "none of it is beyond doubt"
        work.worked_at, work.turned_at = 0.0, work.turned_at - DOUBT * LONG
        assert not await work.look(SHORT, limit=LONG)
        assert not work.worked_at, "there is an end to it"
        assert engine.questions == 1
        engine.turns.set()
        assert await work.look(LONG, limit=LONG)
        assert work.worked_at
        assert work.certain_at > began
        await work.close()


async def test_an_engine_that_answers_within_a_batch_is_given_time(tmp_path: Path) -> None:
    """As long as its slots stay as they are, which a batch that never ends does, too."""
    async with engine_at(tmp_path / "e") as engine:
        engine.turns.set()
        busy = 0
        work = EngineWork(tmp_path / "e", lambda before, after: busy)

        async def works(limit: float) -> bool:
            work.worked_at = work.certain_at = 0.0
            assert await work.look(LONG, limit=limit)
            return bool(work.worked_at)

        engine.slots = [{"is_processing": True, "n_prompt_tokens_processed": 0}]
        assert await works(LONG)
        assert work.certain_at
        assert await works(LONG), "a batch takes as long as it takes"
        assert not work.certain_at, "it shows nothing new"
        work._changed_at -= DOUBT * LONG
        assert await works(LONG), "nothing to compare with yet"
        assert not await works(LONG), "nobody computes"
        busy = 1
        assert await works(LONG), "it takes its time"
        work._changed_at -= DOUBT * DOUBT * LONG
        assert not await works(LONG), "there is an end to it"
        engine.slots = [{"is_processing": True, "n_prompt_tokens_processed": 512}]
        assert await works(LONG), "it has come further"
        assert work.certain_at
        work._changed_at -= DOUBT * DOUBT * LONG
        assert not await works(LONG)
        work.rest()
        assert await works(LONG), "that was another request"
        await work.close()


async def test_nobody_listens(tmp_path: Path) -> None:
    """That is no sign of work."""
    work = EngineWork(tmp_path / "e")
    work.worked_at = 0.0
    assert not await work.look(SHORT, limit=LONG)
    assert not work.worked_at
    await work.close()


def test_threads_are_counted_that_compute() -> None:
    """Those that do much less than the busiest are not."""
    assert busy_threads({"1": 5, "2": 7}, {"1": 5, "2": 7}) == 0
    assert busy_threads({"1": 5, "2": 7}, {"1": 105, "2": 17}) == 1
    assert busy_threads({"1": 5}, {"1": 105, "2": 80}) == 2
    assert len(thread_times(os.getpid())) >= 1
    assert thread_times(2**31 - 1) == {}
