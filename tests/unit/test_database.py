"""The database: what is acknowledged is there, and what is wrong with the file is told."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from runnerd.database import Connection, Database
from runnerd.database.migrations import VERSION
from runnerd.errors import ClientError, Conflict, DatabaseFailure, StartupError, StorageFailure
from runnerd.tasks import spawn


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    """A database that is closed at the end."""
    database = Database(folder)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def add(connection: Connection, day: int) -> None:
    connection.execute("INSERT INTO usage VALUES (?, 'p', 'm', 'p', 'm', 1, 0, 1, 1)", (day,))


def add_days(connection: Connection, most: int) -> None:
    for day in range(most):
        add(connection, day)


@contextmanager
def held(database: Database) -> Iterator[asyncio.Task[None]]:
    """Keep the writer busy, so that what is handed in meanwhile comes together."""
    go_on = threading.Event()

    def work(connection: Connection) -> None:
        go_on.wait()

    try:
        yield spawn(database.write(work), name="hold")
    finally:
        go_on.set()


def days(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT day FROM usage ORDER BY day")]


async def test_work_whose_caller_is_gone(tmp_path: Path) -> None:
    """Is carried out; where it fails, asyncio does not report what nobody waits for."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def fail(connection: Connection) -> None:
        raise Conflict("it is not there any more")

    async with opened(tmp_path) as database:
        with held(database):
            gone = spawn(database.write(fail), name="gone")
            await asyncio.sleep(0)  # it is handed in
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
        await database.write(partial(add, day=1))
    gc.collect()
    await asyncio.sleep(0)
    assert told == []


async def test_a_new_database(tmp_path: Path) -> None:
    """Is its owner's alone, and has its version; nothing of its making is left."""
    async with opened(tmp_path) as database:
        assert database.problem is None
        assert database.path.stat().st_mode & 0o777 == 0o600
        await database.write(lambda connection: add(connection, 1))
        assert await database.read(days) == [1]
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == ["runnerd.db"]
    with closing(sqlite3.connect(tmp_path / "runnerd.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert days(connection) == [1]


async def test_a_file_that_others_can_read(tmp_path: Path) -> None:
    """As one that was copied here by hand: it is closed to them, and so is what lies beside it."""
    async with opened(tmp_path) as database:
        pass
    database.path.chmod(0o644)
    async with opened(tmp_path) as database:
        await database.write(lambda connection: add(connection, 1))
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o077 == 0


async def test_work_that_comes_together(tmp_path: Path) -> None:
    """Each piece has its own outcome, in one transaction as alone."""

    def refuses(connection: Connection) -> None:
        add(connection, 500)
        raise Conflict("there is one already")

    def breaks_a_rule(connection: Connection) -> None:
        add(connection, 501)
        connection.execute("INSERT INTO missing VALUES (1)")

    async with opened(tmp_path) as database:
        with held(database) as holding:
            waiting = [spawn(database.write(partial(add, day=n)), name="w") for n in range(300)]
            refused = spawn(database.write(refuses), name="refused")
            wrong = spawn(database.write(breaks_a_rule), name="wrong")
            await asyncio.sleep(0)
        await holding
        await asyncio.gather(*waiting)
        with pytest.raises(Conflict):
            await refused
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await wrong
        assert await database.read(days) == list(range(300))


async def test_who_leaves_has_changed_it_all_the_same(tmp_path: Path) -> None:
    """A cancelled caller's work is carried out, and its outcome told to who follows the changes."""
    told: list[int] = []

    def work(connection: Connection) -> int:
        add(connection, 7)
        return 7

    async with opened(tmp_path) as database:
        with held(database) as holding:
            writing = spawn(database.write(work, then=told.append), name="write")
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
        await holding
        await database.write(lambda connection: add(connection, 8))
        assert await database.read(days) == [7, 8]
        assert told == [7]


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """Whoever reads has a connection that changes nothing."""
    async with opened(tmp_path) as database:
        with pytest.raises(StorageFailure):
            await database.read(lambda connection: add(connection, 1))
        assert await database.read(days) == []


async def test_a_newer_database(tmp_path: Path) -> None:
    """Is refused with a sentence, and left as it is."""
    async with opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "runnerd.db")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "runnerd.db").read_bytes()
    with pytest.raises(StartupError, match="newer runnerd"):
        await Database(tmp_path).open()
    assert (tmp_path / "runnerd.db").read_bytes() == before


async def test_another_programs_database(tmp_path: Path) -> None:
    """Is not touched either."""
    with closing(sqlite3.connect(tmp_path / "runnerd.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StartupError, match="another program"):
        await Database(tmp_path).open()


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"not a database\n" * 1000])
async def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    """Stays where it is: nothing is written, and whoever asks is told what to do."""
    (tmp_path / "runnerd.db").write_bytes(content)
    async with opened(tmp_path) as database:
        assert isinstance(database.problem, DatabaseFailure)
        for asking in (database.read(days), database.write(lambda c: add(c, 1))):
            with pytest.raises(DatabaseFailure, match=r"damaged.*restore a backup"):
                await asking
    assert (tmp_path / "runnerd.db").read_bytes() == content


async def test_damage_in_the_middle(tmp_path: Path) -> None:
    """Is found at the start; tables without any can be saved."""
    async with opened(tmp_path) as database:
        await database.write(lambda c: add_days(c, 5000))
    file = tmp_path / "runnerd.db"
    with closing(sqlite3.connect(file)) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'usage'")
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    file.write_bytes(content)
    async with opened(tmp_path) as database:
        assert database.problem is not None
        assert await database.salvage(("users", "keys"), lambda _: "found") == "found"
        assert await database.salvage(("users", "usage"), lambda _: "found") is None
    assert file.read_bytes() == bytes(content)


async def test_locked_by_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is refused with a time to come back, and goes well once that program has ended."""
    monkeypatch.setattr("runnerd.database.failures.LOCKED_SECONDS", 0.1)
    async with opened(tmp_path) as database:
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writes = [database.write(lambda c: add(c, 1)) for _ in range(3)]
            for failure in await asyncio.gather(*writes, return_exceptions=True):
                assert isinstance(failure, DatabaseFailure)
                assert "locked" in failure.message
                assert failure.retry_after
            assert await database.read(days) == []
            other.execute("ROLLBACK")
        await database.write(lambda c: add(c, 1))
        assert await database.read(days) == [1]


async def test_locked_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, and what was there is told once it can be read."""
    monkeypatch.setattr("runnerd.database.failures.LOCKED_SECONDS", 0.1)
    monkeypatch.setattr("runnerd.database.writer._RETRY", 0.0)
    async with opened(tmp_path) as database:
        await database.write(lambda c: add(c, 1))
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    with closing(sqlite3.connect(tmp_path / "runnerd.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        database = Database(tmp_path)

        def tell(connection: Connection) -> None:
            loop.call_soon_threadsafe(told.set)

        database.when_opened(tell)
        await database.open()
        assert database.problem is not None
        assert "locked" in database.problem.message
    await told.wait()
    await database.write(lambda c: add(c, 2))
    assert await database.read(days) == [1, 2]
    await database.close()


async def test_a_copy_and_its_restoring(tmp_path: Path) -> None:
    """A copy is of one moment; restored, all is as it was then, under a daemon that runs."""
    seen: list[list[int]] = []
    database = Database(tmp_path)
    database.when_opened(lambda connection: seen.append(days(connection)))
    await database.open()
    await database.write(lambda c: add(c, 1))
    kept = tmp_path / "kept"
    async with database.copy() as copy:
        assert copy.stat().st_mode & 0o777 == 0o600
        kept.write_bytes(copy.read_bytes())
    await database.write(lambda c: add(c, 2))
    await database.restore(kept)
    assert await database.read(days) == [1]
    await database.write(lambda c: add(c, 3))
    assert await database.read(days) == [1, 3]
    assert seen == [[], [1]]
    await database.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "runnerd.db"]


async def test_restoring_in_place_of_a_damaged_one(tmp_path: Path) -> None:
    """The damaged file is kept beside it."""
    async with opened(tmp_path) as database:
        await database.write(lambda c: add(c, 1))
        async with database.copy() as copy:
            kept = copy.read_bytes()
    (tmp_path / "runnerd.db").write_bytes(b"damaged")
    async with opened(tmp_path) as database:
        assert database.problem is not None
        new = database.new_copy_path()
        new.write_bytes(kept)
        await database.restore(new)
        assert database.problem is None
        assert await database.read(days) == [1]
    assert (tmp_path / "runnerd.db.unusable").read_bytes() == b"damaged"


async def test_a_file_that_cannot_be_restored(tmp_path: Path) -> None:
    """Nothing changes."""
    async with opened(tmp_path) as database:
        await database.write(lambda c: add(c, 1))
        for content in (b"", b"no database" * 1000):
            (tmp_path / "wrong").write_bytes(content)
            with pytest.raises(ClientError, match=r"backup (is empty|of runnerd)"):
                await database.restore(tmp_path / "wrong")
        with closing(sqlite3.connect(tmp_path / "other")) as other:
            other.execute("CREATE TABLE theirs (x)")
        with pytest.raises(StartupError, match="another program"):
            await database.restore(tmp_path / "other")
        assert await database.read(days) == [1]


async def test_removed_under_the_daemon(tmp_path: Path) -> None:
    """Nothing is written where it would be lost, no empty one takes its place, and a copy of it
    that is restored or put back is used at once.
    """
    file = tmp_path / "runnerd.db"
    async with opened(tmp_path) as database:
        await database.write(lambda c: add(c, 1))
        async with database.copy() as copy:
            kept = copy.read_bytes()
        file.unlink()
        for _ in range(2):
            with pytest.raises(DatabaseFailure, match="removed while the daemon ran"):
                await database.write(lambda c: add(c, 2))
        assert isinstance(database.problem, DatabaseFailure)
        assert not file.exists()
        new = database.new_copy_path()
        new.write_bytes(kept)
        await database.restore(new)
        await database.write(lambda c: add(c, 3))
        assert await database.read(days) == [1, 3]

        (tmp_path / "another").write_bytes(kept)
        (tmp_path / "another").rename(file)
        await database.write(lambda c: add(c, 4))
        assert await database.read(days) == [1, 4]


async def test_after_a_kill(tmp_path: Path) -> None:
    """Copies that a killed daemon has left are removed; so is what its making of a file left."""
    (tmp_path / "runnerd.db.copy-0123").write_bytes(b"x")
    (tmp_path / "runnerd.db.new").write_bytes(b"half a database")
    (tmp_path / "runnerd.db-wal").write_bytes(b"the log of another database")
    async with opened(tmp_path) as database:
        assert database.problem is None
        await database.write(lambda c: add(c, 1))
    assert [file.name for file in tmp_path.iterdir()] == ["runnerd.db"]


async def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    """It is written back into the file, by the one connection that writes."""
    text = "x" * 100_000  # few that are large: each is synced

    def work(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO audit (time, principal, who, action, route, subject, status)"
            " VALUES (1, 'p', 'p', 'a', '', ?, 200)",
            (text,),
        )

    async with opened(tmp_path) as database:
        for _ in range(150):
            await database.write(work)
        assert (tmp_path / "runnerd.db-wal").stat().st_size < 6 * 2**20
