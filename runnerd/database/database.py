"""The database as the rest of the daemon sees it: work is handed in, results are awaited."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from runnerd import tasks, threads
from runnerd.database import failures, opening
from runnerd.database.readers import Readers
from runnerd.database.restoring import keep_audit
from runnerd.database.writer import Work, Writer
from runnerd.errors import DatabaseLocked, RunnerdError, StartupError

T = TypeVar("T")

_COPIES = "runnerd.db.copy-"


class Database:
    """Owns `runnerd.db` in a folder, from `open` to `close`.

    `write` promises that what it has acknowledged is still there after a power cut.  Where the file
    cannot be used, `problem` says why, and it is tried again by itself and for each change.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runnerd.db"
        self._when_opened: list[Callable[[sqlite3.Connection], None]] = []
        self._writer = Writer(self.path, self._opened)
        self._readers = Readers(self.path)

    @property
    def problem(self) -> RunnerdError | None:
        """Why the database cannot be used, None where it can."""
        return self._writer.problem

    @property
    def refusal(self) -> RunnerdError | None:
        """Why the latest change could not be written (a full disk, a lock), None where it could."""
        return self._writer.refusal.error

    def when_opened(self, look: Callable[[sqlite3.Connection], None]) -> None:
        """Call `look`, in the writer's thread, whenever the content may have become another one: at
        the first opening, after a restored backup, and once a database can be used again.
        """
        self._when_opened.append(look)

    def _opened(self, connection: sqlite3.Connection) -> None:
        for look in self._when_opened:
            look(connection)

    async def open(self) -> None:
        """Open the file, or note the `problem`.  Raises errors.StartupError for one that a newer
        runnerd or another program has written.
        """
        await threads.run(self._sweep)
        try:
            await asyncio.wrap_future(self._writer.start())
        except StartupError:
            await self.close()
            raise
        except RunnerdError:
            return  # it is `problem`, and was logged

    async def write(self, work: Work[T], *, then: Callable[[T], None] | None = None) -> T:
        """Carry out work that writes, and return its result once it is on the disk.

        It is carried out even if the caller is cancelled.  `then` is called on the event loop with
        the result, in any case and in the order in which changes were made.  Raises what the work
        raises; errors.DatabaseFailure, StorageFailure, InsufficientStorage where nothing was
        changed.
        """
        loop = asyncio.get_running_loop()

        def done(future: Future[T]) -> None:
            if then is not None and future.exception() is None:
                loop.call_soon_threadsafe(then, future.result())

        written = asyncio.wrap_future(self._writer.submit(work, then=done))
        written.add_done_callback(_retrieved)
        return await asyncio.shield(written)

    async def read(self, work: Work[T]) -> T:
        """Carry out work that only reads, in a thread.  Raises as `write` does."""
        return await threads.run(self._read, work)

    def _read(self, work: Work[T]) -> T:
        if self.problem is not None:
            raise self.problem
        with opening.failure_explained(self.path):
            try:
                with self._readers.connection() as connection:
                    return work(connection)
            except sqlite3.Error as error:
                if failures.is_damage(error):
                    self._writer.distrust(error)
                raise

    async def salvage(self, tables: tuple[str, ...], work: Work[T]) -> T | None:
        """What work reads of a database that cannot be used, None where these tables are damaged.

        For the start: a disk that cannot be written, or damage elsewhere, must not take the users
        with it.  None for a database that another program may be writing.
        """
        if isinstance(self.problem, DatabaseLocked):
            return None
        return await threads.run(self._salvage, tables, work)

    def _salvage(self, tables: tuple[str, ...], work: Work[T]) -> T | None:
        with contextlib.suppress(sqlite3.Error, OSError, ValueError):
            with opening.copy_for_reading(self.path) as connection:
                if all(opening.is_sound(connection, table) is None for table in tables):
                    return work(connection)
        return None

    @contextlib.asynccontextmanager
    async def copy(self) -> AsyncIterator[Path]:
        """A file with a whole copy of the database, as long as the with block lasts.

        Changes go on meanwhile.  Raises as `write` does.
        """
        target = self.path.with_name(f"{_COPIES}{uuid4().hex}")
        try:
            await threads.run(self._read, lambda source: opening.backup(source, target))
            yield target
        finally:
            await threads.run_to_end(target.unlink, missing_ok=True)

    async def restore(self, copy: Path) -> None:
        """Let the content of a copy be the database's, all or nothing; the file `copy` is used up.

        The audit keeps its entries; a database that cannot be used is moved aside.  Raises
        errors.StartupError for a copy that a newer runnerd or another program has written,
        ClientError for what is no copy, and as `write` does.
        """
        work = asyncio.wrap_future(
            self._writer.submit_alone(lambda connection: self._restore(connection, copy))
        )
        if await tasks.outlast(work):
            raise asyncio.CancelledError
        work.result()

    def _restore(self, connection: sqlite3.Connection | None, copy: Path) -> None:
        with opening.failure_explained(self.path):
            with contextlib.closing(opening.open_backup(copy)) as source:
                if connection is not None:
                    keep_audit(connection, source)
                    source.backup(connection)
            if connection is not None:
                self._opened(connection)
                return
            if self.path.exists():
                opening.set_aside(self.path)
            opening.put_in_place(copy, self.path)
        self._writer.reopen()

    def new_copy_path(self) -> Path:
        """A free name beside the database, for a copy that arrives."""
        return self.path.with_name(f"{_COPIES}{uuid4().hex}")

    def _sweep(self) -> None:
        """Remove copies that a killed daemon has left."""
        for file in self.path.parent.glob(f"{_COPIES}*"):
            with contextlib.suppress(OSError):
                file.unlink()

    async def close(self) -> None:
        """Carry out what waits, and close the file.  Idempotent."""
        self._readers.close()
        await threads.run_to_end(self._writer.close)


def _retrieved(future: asyncio.Future[Any]) -> None:
    """Keep what work raises after its caller was cancelled from asyncio, which would report it."""
    if not future.cancelled():
        future.exception()
