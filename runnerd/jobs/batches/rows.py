"""Files and batches as rows of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from runnerd.access import Principal
from runnerd.database import Connection


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was uploaded.  `principal` is the id of whose it is."""

    id: str
    principal: str
    name: str
    purpose: str
    size: int
    created: float


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a batch's file; `line` counts from 1, None: all of it."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch.  `stage` is "validating" until all its jobs are in the queue, "failed" where it has
    none, "cancelled" once somebody has cancelled it, else "submitted"; how far it is, its jobs say.
    """

    id: str
    owner: Principal
    file: str
    endpoint: str
    window: str
    created: float
    deadline: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    stage: str = "validating"
    total: int = 0
    changed: float = 0.0  # when it came into its stage
    faults: tuple[Fault, ...] = ()


_BATCH = msgspec.json.Decoder(Batch)
_FILES = "SELECT id, principal, name, purpose, size, created FROM files"


def add_file(connection: Connection, file: StoredFile) -> None:
    """Add a file whose content is on the disk."""
    connection.execute(
        "INSERT INTO files (id, principal, name, purpose, size, created) VALUES (?, ?, ?, ?, ?, ?)",
        (file.id, file.principal, file.name, file.purpose, file.size, file.created),
    )


def find_file(connection: Connection, id: str) -> StoredFile | None:
    """The file with an id."""
    row = connection.execute(f"{_FILES} WHERE id = ?", (id,)).fetchone()
    return None if row is None else StoredFile(*row)


def select_files(
    connection: Connection, principal: str | None, purpose: str | None
) -> list[StoredFile]:
    """Files, the newest first."""
    found = connection.execute(
        f"{_FILES} WHERE (? IS NULL OR principal = ?) AND (? IS NULL OR purpose = ?)"
        " ORDER BY created DESC, id DESC",
        (principal, principal, purpose, purpose),
    )
    return [StoredFile(*row) for row in found]


def bytes_of(connection: Connection, principal: str) -> int:
    """How many bytes of files a principal has."""
    found = connection.execute(
        "SELECT coalesce(sum(size), 0) FROM files WHERE principal = ?", (principal,)
    )
    return int(found.fetchone()[0])


def count_of(connection: Connection, principal: str) -> int:
    """How many files a principal has."""
    found = connection.execute("SELECT count(*) FROM files WHERE principal = ?", (principal,))
    return int(found.fetchone()[0])


def remove_file(connection: Connection, id: str) -> bool:
    """Remove a file; whether there was one."""
    return connection.execute("DELETE FROM files WHERE id = ?", (id,)).rowcount > 0


def old_files(connection: Connection, before: float) -> list[str]:
    """Remove the files that were uploaded before a time; their ids."""
    found = connection.execute("DELETE FROM files WHERE created < ? RETURNING id", (before,))
    return [id for (id,) in found]


def file_ids(connection: Connection) -> set[str]:
    """The ids of all files."""
    return {id for (id,) in connection.execute("SELECT id FROM files")}


def put_batch(connection: Connection, batch: Batch) -> None:
    """Add a batch, or write down what has become of it."""
    connection.execute(
        "INSERT INTO batches (id, principal, stage, created, batch) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, batch = excluded.batch",
        (
            batch.id,
            batch.owner.id,
            batch.stage,
            batch.created,
            msgspec.json.encode(batch).decode(),
        ),
    )


def batches_of(connection: Connection, principal: str) -> int:
    """How many batches a principal has."""
    found = connection.execute("SELECT count(*) FROM batches WHERE principal = ?", (principal,))
    return int(found.fetchone()[0])


def find_batch(connection: Connection, id: str) -> Batch | None:
    """The batch with an id."""
    row = connection.execute("SELECT batch FROM batches WHERE id = ?", (id,)).fetchone()
    return None if row is None else _BATCH.decode(row[0])


def select_batches(
    connection: Connection, principal: str | None, after: str | None, limit: int
) -> list[Batch]:
    """Batches, the newest first; `after` is the id of the last one of the page before."""
    found = connection.execute(
        "SELECT batch FROM batches WHERE (? IS NULL OR principal = ?)"
        " AND (? IS NULL OR (created, id) < (SELECT created, id FROM batches WHERE id = ?"
        " AND (? IS NULL OR principal = ?))) ORDER BY created DESC, id DESC LIMIT ?",
        (principal, principal, after, after, principal, principal, limit),
    )
    return [_BATCH.decode(batch) for (batch,) in found]


def unfinished(connection: Connection) -> list[Batch]:
    """The batches that are not all in the queue yet."""
    found = connection.execute("SELECT batch FROM batches WHERE stage = 'validating'")
    return [_BATCH.decode(batch) for (batch,) in found]


def remove_old_batches(connection: Connection, before: float) -> None:
    """Remove the batches that were made before a time."""
    connection.execute("DELETE FROM batches WHERE created < ?", (before,))
