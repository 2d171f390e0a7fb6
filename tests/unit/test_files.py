"""Uploaded files."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd import tasks
from runnerd.database import Database
from runnerd.errors import JobNotFound, LimitReached
from runnerd.jobs.batches.files import FileStore
from runnerd.tasks import spawn


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileStore]:
    database = Database(tmp_path)
    await database.open()
    folder = tmp_path / "files"
    yield FileStore(database, folder, most=lambda: 10, clock=lambda: 5.0, most_files=3)
    await database.close()


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def test_a_files_life(store: FileStore, tmp_path: Path) -> None:
    """Kept, read, deleted; somebody else's is not there."""
    file = await store.add("ann", "name", "batch", pieces(b"ab", b"c"))
    assert (file.size, file.created) == (3, 5.0)
    assert await store.get(file.id, "ann") == await store.get(file.id, None) == file
    assert await store.list("ann", "batch") == [file]
    assert await store.list("ben", None) == []
    with store.open(file) as content:
        assert content.read() == b"abc"
    with pytest.raises(JobNotFound):
        await store.get(file.id, "ben")
    await store.delete(file)
    assert list((tmp_path / "files").iterdir()) == []
    for gone in (store.get(file.id, None), store.get("../runnerd.db", None)):
        with pytest.raises(JobNotFound):
            await gone


async def test_too_much(store: FileStore, tmp_path: Path) -> None:
    """Nothing is left of what was too much, and others are not concerned."""
    await store.add("ann", "a", "batch", pieces(b"12345678"))
    with pytest.raises(LimitReached):
        await store.add("ann", "b", "batch", pieces(b"12", b"3"))
    assert len(list((tmp_path / "files").iterdir())) == 1
    await store.add("ben", "b", "batch", pieces(b"123"))


async def test_many_at_a_time(store: FileStore, tmp_path: Path) -> None:
    """What arrives at the same time counts together: no more lies on the disk than may be kept."""
    most = 0
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal most
        for _ in range(2):
            yield b"1234"
            most = max(most, sum(path.stat().st_size for path in (tmp_path / "files").iterdir()))
            await go_on.wait()

    adding = [tasks.spawn(store.add("ann", "a", "batch", slowly()), name="add") for _ in range(3)]
    await asyncio.wait(adding, return_when=asyncio.FIRST_COMPLETED)
    go_on.set()
    await asyncio.wait(adding)
    refused = [each for each in adding if each.exception() is not None]
    assert refused
    assert all(isinstance(each.exception(), LimitReached) for each in refused)
    assert most <= 10
    for file in await store.list("ann", None):
        await store.delete(file)
    assert (await store.add("ann", "b", "batch", pieces(b"1234567890"))).size == 10


async def test_too_many_at_a_time(store: FileStore) -> None:
    """A user has so many uploads under way at most; others are not concerned."""
    go_on = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        await go_on.wait()
        yield b""

    adding = [tasks.spawn(store.add("ann", "a", "batch", waiting()), name="add") for _ in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(LimitReached, match="at once"):
        await store.add("ann", "b", "batch", pieces())
    await store.add("ben", "b", "batch", pieces())
    go_on.set()
    await asyncio.wait(adding)
    assert sum(each.exception() is None for each in adding) == 3


async def test_too_many(store: FileStore, tmp_path: Path) -> None:
    """Also empty ones have an end; nothing is left of one too many."""
    for name in ("a", "b", "c"):
        await store.add("ann", name, "batch", pieces())
    with pytest.raises(LimitReached, match="3 files"):
        await store.add("ann", "d", "batch", pieces())
    assert len(list((tmp_path / "files").iterdir())) == 3
    await store.add("ben", "b", "batch", pieces())


async def test_what_is_left_over(store: FileStore, tmp_path: Path) -> None:
    """Content without a row is removed at a start; old files are, in time."""
    file = await store.add("ann", "a", "batch", pieces(b"1"))
    (tmp_path / "files" / "file-stray").write_bytes(b"x")
    await store.remove_leftovers()
    assert [path.name for path in (tmp_path / "files").iterdir()] == [file.id]
    await store.sweep(4.0)
    assert await store.list(None, None) == [file]
    await store.sweep(6.0)
    assert list((tmp_path / "files").iterdir()) == []


async def test_who_leaves_while_it_is_written_down(tmp_path: Path) -> None:
    """What the database has got by then is carried out: row and content stay together."""
    database, writing, go = Database(tmp_path), threading.Event(), threading.Event()
    await database.open()

    def most() -> int:
        if threading.current_thread() is not threading.main_thread():  # in the database's
            writing.set()
            go.wait(30)
        return 10

    store = FileStore(database, tmp_path / "files", most=most, clock=lambda: 5.0)
    task = spawn(store.add("ann", "a", "batch", pieces(b"12")), name="add")
    await asyncio.to_thread(writing.wait, 30)
    task.cancel()
    await asyncio.wait([task], timeout=0.1)
    go.set()
    await asyncio.wait([task])
    assert task.cancelled()
    [file] = await store.list("ann", None)
    with store.open(file) as content:
        assert content.read() == b"12"
    await database.close()
