"""Batches: made of a file, looked at, cancelled, and read out of their jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import BinaryIO
from weakref import WeakValueDictionary

from runnerd import tasks, threads
from runnerd.access import Principal
from runnerd.database import Connection, Database
from runnerd.errors import Conflict, JobNotFound, LimitReached, RunnerdError
from runnerd.jobs.batches import rows
from runnerd.jobs.batches.files import FileStore
from runnerd.jobs.batches.lines import MOST_LINE_BYTES, LineReader
from runnerd.jobs.batches.rows import Batch, Fault, StoredFile
from runnerd.jobs.group_summary import GroupSummary
from runnerd.jobs.job import Job, NewJob, new_id
from runnerd.jobs.queue import Queue, Selection

log = logging.getLogger(__name__)

_TOGETHER = 250  # lines that are read and submitted at once,
_TOGETHER_BYTES = 4 * 2**20  # or fewer, where they are long
_PAGE = 200  # jobs that are read at once
_LATER = 3600.0  # seconds until some of too many batches may be gone

ModelAsked = Callable[[Principal, str], str]
"""The one spelling of a model; raises for one that there is not for a principal."""


class Batches:
    """Owns the batches, from `open` to `close`."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        files: FileStore,
        *,
        model_asked: ModelAsked,
        clock: Callable[[], float],
        most: Callable[[], int],
    ) -> None:
        """`most` is how many a principal may have."""
        self._database = database
        self._queue = queue
        self._files = files
        self._model_asked = model_asked
        self._clock = clock
        self._most = most
        self._submitting: dict[str, asyncio.Task[None]] = {}
        self._turns = WeakValueDictionary[str, asyncio.Lock]()  # by principal

    async def open(self) -> None:
        """Go on with what another daemon has begun."""
        for batch in await self._database.read(rows.unfinished):
            self._begin(batch)

    async def create(
        self,
        owner: Principal,
        file: StoredFile,
        endpoint: str,
        window: tuple[str, float],
        metadata: Mapping[str, str],
    ) -> Batch:
        """Make a batch of a file; its lines are looked at and submitted afterwards.

        `window` is the time in which it has to be complete, in words and in seconds.  Raises
        errors.LimitReached.
        """
        now = self._clock()
        words, seconds = window
        batch = Batch(
            f"batch_{new_id()}",
            owner,
            file.id,
            endpoint,
            words,
            now,
            now + seconds,
            dict(metadata),
            changed=now,
        )
        await self._database.write(lambda connection: self._add(connection, batch))
        self._begin(batch)
        return batch

    def _add(self, connection: Connection, batch: Batch) -> None:
        most = self._most()
        if rows.batches_of(connection, batch.owner.id) >= most:
            raise LimitReached(
                f"you have {most} batches, which is the most (jobs.batches); wait until some are"
                " old enough to be gone",
                limit="batches",
                retry_after=_LATER,
            )
        rows.put_batch(connection, batch)

    async def _put(self, batch: Batch) -> None:
        await self._database.write(lambda connection: rows.put_batch(connection, batch))

    def _begin(self, batch: Batch) -> None:
        task = tasks.spawn(self._submit_in_turn(batch), name=batch.id)
        self._submitting[batch.id] = task
        task.add_done_callback(lambda _: self._submitting.pop(batch.id, None))

    async def _submit_in_turn(self, batch: Batch) -> None:
        """Of one principal's batches one is read at a time, however many there are."""
        turn = self._turns.setdefault(batch.owner.id, asyncio.Lock())
        async with turn:
            await self._submit(batch)

    async def _submit(self, batch: Batch) -> None:
        """Look at all lines, then submit all; a fault in one is a fault of the batch.

        The file is read twice, so that its requests are never all in memory.
        """
        reader = self._reader(batch)
        try:
            file = await self._files.get(batch.file, None)
            async for _ in self._read(file, reader):
                pass
            reader.end()
            if not reader.faults:
                async for jobs in self._read(file, self._reader(batch)):
                    await self._queue.submit(jobs)
        except RunnerdError as error:
            log.info("%s: %s", batch.id, error.message)
            reader.faults.append(Fault(error.code, error.message))
        if reader.faults:
            await self._queue.cancel_group(batch.id)  # what was submitted before it failed
        await self._change(
            batch.id,
            lambda found: replace(
                found,
                stage="failed" if reader.faults else "submitted",
                faults=tuple(reader.faults),
                total=reader.lines,
                changed=self._clock(),
            ),
        )

    def _reader(self, batch: Batch) -> LineReader:
        return LineReader(batch, lambda model: self._model_asked(batch.owner, model))

    async def _read(self, file: StoredFile, reader: LineReader) -> AsyncIterator[list[NewJob]]:
        """The jobs of a file's lines, some at a time, read in a thread."""
        content = await threads.run_or_close(lambda: self._files.open(file))
        try:
            while not reader.hopeless:
                lines = await threads.run(_some_lines, content)
                if not lines:
                    return
                found = [reader.read(line) for line in lines]
                yield [job for job in found if job is not None]
        finally:
            content.close()

    async def _change(self, id: str, change: Callable[[Batch], Batch]) -> Batch | None:
        """Write down what has become of a batch, unless it was cancelled meanwhile."""

        def work(connection: Connection) -> Batch | None:
            found = rows.find_batch(connection, id)
            if found is None or found.stage != "validating":
                return found
            found = change(found)
            rows.put_batch(connection, found)
            return found

        return await self._database.write(work)

    async def get(self, id: str, principal: str | None) -> Batch:
        """The batch with an id.  Raises errors.JobNotFound, also for somebody else's."""
        batch = await self._database.read(lambda connection: rows.find_batch(connection, id))
        if batch is None or principal not in (None, batch.owner.id):
            raise JobNotFound(f"there is no batch {id[:100]!r}")
        return batch

    async def list(self, principal: str | None, after: str | None, limit: int) -> list[Batch]:
        """Batches, the newest first."""
        return await self._database.read(
            lambda connection: rows.select_batches(connection, principal, after, limit)
        )

    async def summary(self, batch: Batch) -> GroupSummary:
        """How its jobs stand."""
        return await self._queue.summary(batch.id)

    async def cancel(self, batch: Batch) -> Batch:
        """Cancel what has not ended of a batch.  Raises errors.Conflict where all has."""
        if batch.stage == "failed" or (
            batch.stage != "validating" and not (await self.summary(batch)).open
        ):
            raise Conflict(f"{batch.id} has ended: there is nothing to cancel")
        cancelled = replace(batch, stage="cancelled", changed=self._clock())
        await self._put(cancelled)
        if (task := self._submitting.get(batch.id)) is not None:
            await tasks.cancel_and_wait(task)
        await self._queue.cancel_group(batch.id)
        return cancelled

    async def jobs(self, batch: Batch) -> AsyncIterator[Job]:
        """Its jobs with what came of them, the last line first."""
        before: str | None = None
        while True:
            page = await self._queue.select(Selection(group=batch.id, before=before, limit=_PAGE))
            if not page:
                return
            for job in await self._queue.get([job.id for job in page]):
                yield job
            before = page[-1].id

    async def sweep(self, before: float) -> None:
        """Forget the batches that were made before a time."""
        await self._database.write(lambda connection: rows.remove_old_batches(connection, before))

    async def close(self) -> None:
        """Submit nothing more; the next daemon goes on.  Idempotent."""
        for task in list(self._submitting.values()):
            await tasks.cancel_and_wait(task)


def _some_lines(content: BinaryIO) -> list[bytes]:
    """The next lines of a file; one that is too long for a request comes in parts."""
    lines: list[bytes] = []
    size = 0
    while len(lines) < _TOGETHER and size < _TOGETHER_BYTES:
        line = content.readline(MOST_LINE_BYTES + 1)
        if not line:
            break
        lines.append(line)
        size += len(line)
    return lines
