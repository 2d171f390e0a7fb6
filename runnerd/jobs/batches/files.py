"""Uploaded files: their content on the disk, what is known of them in the database.

The content is on the disk before its row is, and a row is gone before the content is; what a crash
leaves without a row is removed at the next start.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runnerd import tasks, threads
from runnerd.database import Connection, Database
from runnerd.durable import storage_errors, sync_folder
from runnerd.errors import JobNotFound, LimitReached
from runnerd.jobs.batches import rows
from runnerd.jobs.batches.rows import StoredFile
from runnerd.jobs.job import new_id

_WHAT = "the files of batches"
_ID = re.compile("file-[0-9a-f]{32}")
MOST_FILES = 10_000  # of one principal: also empty ones take names on the disk
_MOST_AT_ONCE = 16  # of one principal
_SOON = 10.0  # seconds until one of these may be here
_LATER = 3600.0  # seconds until some of too many files may be gone


@dataclass(slots=True, eq=False)
class _Upload:
    """A file that is being uploaded, and how much of it has come."""

    size: int = 0


class FileStore:
    """Owns the files in a folder.  `most` is how many bytes of them a principal may have."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        most: Callable[[], int],
        clock: Callable[[], float],
        most_files: int = MOST_FILES,
    ) -> None:
        self._database = database
        self._folder = folder
        self._most = most
        self._clock = clock
        self._most_files = most_files
        self._uploads: dict[str, list[_Upload]] = {}  # by principal

    async def add(
        self, principal: str, name: str, purpose: str, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """Keep a file that comes in pieces; it is on the disk when this returns.

        Raises errors.LimitReached, StorageFailure, InsufficientStorage, DatabaseFailure.
        """
        id = f"file-{new_id()}"
        path = self._path(id)
        with self._uploading(principal) as upload:
            try:
                await self._write(path, content, principal, upload)
            except BaseException:
                await threads.run_to_end(path.unlink, missing_ok=True)
                raise
            file = StoredFile(id, principal, name, purpose, upload.size, self._clock())
            # The database carries out what it was given: its row decides whether the content stays.
            await tasks.uninterrupted(self._keep(file), name=f"keep {id}")
        return file

    @contextlib.contextmanager
    def _uploading(self, principal: str) -> Iterator[_Upload]:
        """For a block: one more file of a principal comes.  Raises errors.LimitReached."""
        uploads = self._uploads.setdefault(principal, [])
        if len(uploads) >= _MOST_AT_ONCE:
            raise LimitReached(
                f"{_MOST_AT_ONCE} files of yours are being uploaded, which is the most at once",
                limit="files",
                retry_after=_SOON,
            )
        upload = _Upload()
        uploads.append(upload)
        try:
            yield upload
        finally:
            uploads.remove(upload)
            if not uploads:
                del self._uploads[principal]

    async def _keep(self, file: StoredFile) -> None:
        try:
            await self._database.write(lambda connection: self._add(connection, file))
        except BaseException:
            await threads.run_to_end(self._path(file.id).unlink, missing_ok=True)
            raise

    def _add(self, connection: Connection, file: StoredFile) -> None:
        """Others of the same principal may have come at the same time."""
        if rows.count_of(connection, file.principal) >= self._most_files:
            raise LimitReached(
                f"you have {self._most_files} files, which is the most; delete some, or wait until"
                " they are old enough",
                limit="files",
                retry_after=_LATER,
            )
        if rows.bytes_of(connection, file.principal) + file.size > self._most():
            raise self._too_much()
        rows.add_file(connection, file)

    async def _write(
        self, path: Path, content: AsyncIterator[bytes], principal: str, upload: _Upload
    ) -> None:
        """Write a file.  What comes at the same time counts with what is kept: many files at once
        take no more than one.
        """
        kept = await self._database.read(lambda connection: rows.bytes_of(connection, principal))
        with storage_errors(_WHAT):
            file = await threads.run_or_close(lambda: self._create(path))
            try:
                async for piece in content:
                    upload.size += len(piece)
                    coming = sum(each.size for each in self._uploads[principal])
                    if kept + coming > self._most():
                        raise self._too_much()
                    await threads.run(file.write, piece)
            finally:
                await threads.run_to_end(_close, file)
            await threads.run(sync_folder, self._folder)

    def _create(self, path: Path) -> Any:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")

    def _too_much(self) -> LimitReached:
        return LimitReached(
            f"your files would take more than {self._most()} bytes, which is the most"
            " (jobs.files); delete some, or wait until they are old enough",
            limit="files",
            retry_after=_LATER,
        )

    def _path(self, id: str) -> Path:
        if not _ID.fullmatch(id):
            raise not_found(id)
        return self._folder / id

    async def get(self, id: str, principal: str | None) -> StoredFile:
        """The file with an id.  Raises errors.JobNotFound, also for somebody else's."""
        file = await self._database.read(lambda connection: rows.find_file(connection, id))
        if file is None or principal not in (None, file.principal):
            raise not_found(id)
        return file

    async def list(self, principal: str | None, purpose: str | None) -> list[StoredFile]:
        """Files, the newest first."""
        return await self._database.read(
            lambda connection: rows.select_files(connection, principal, purpose)
        )

    def open(self, file: StoredFile) -> Any:
        """The content of a file, to be read in a thread; close it.  Raises errors.JobNotFound."""
        try:
            return open(self._path(file.id), "rb")
        except FileNotFoundError:
            raise not_found(file.id) from None

    async def delete(self, file: StoredFile) -> None:
        """Forget a file."""
        await tasks.uninterrupted(self._forget(file), name=f"forget {file.id}")

    async def _forget(self, file: StoredFile) -> None:
        await self._database.write(lambda connection: rows.remove_file(connection, file.id))
        await threads.run(self._path(file.id).unlink, missing_ok=True)

    async def sweep(self, before: float) -> None:
        """Remove what was uploaded before a time, and content that belongs to no file."""
        if self._database.problem is not None:
            return
        for id in await self._database.write(lambda connection: rows.old_files(connection, before)):
            await threads.run(self._path(id).unlink, missing_ok=True)

    async def remove_leftovers(self) -> None:
        """Remove content without a row; to be called before anything is uploaded."""
        known = await self._database.read(rows.file_ids)
        await threads.run(self._remove_all_but, known)

    def _remove_all_but(self, known: set[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if path.name not in known:
                    path.unlink(missing_ok=True)


def _close(file: Any) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())


def not_found(id: str) -> JobNotFound:
    """There is no such file for who asks."""
    return JobNotFound(f"there is no file {id[:100]!r}")
