"""Memory and disk agree whatever system call fails, and the response says which state that is."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runnerd.errors import (
    Conflict,
    InsufficientStorage,
    ModelNotFound,
    RunnerdError,
    StorageFailure,
    Unconfirmed,
    Undetermined,
)
from runnerd.models.store import Store
from tests.support.broken_disk import BrokenDisk
from tests.support.stores import add, opened, small

ERRNOS = (
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPERM, errno.EACCES, errno.EROFS,
)  # fmt: skip
QUICK = "/dev/shm" if os.path.isdir("/dev/shm") else None  # nothing here has to survive anything
Tags = dict[str, frozenset[str]]


def in_memory(store: Store) -> Tags:
    """Return the tags of each model."""
    return {str(model.id): frozenset(model.tags) for model in store.list()}


def on_disk(root: Path) -> Tags:
    """Return what a daemon would find after a restart; what is damaged fails the test."""
    with TemporaryDirectory(dir=QUICK) as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy, symlinks=True)
        store = opened(copy)
        found = in_memory(store)
        for id in found:
            store.resolve(id)
        assert len(store.catalog.entries) == len(found), "a model is damaged"
        return found


disks = st.builds(
    BrokenDisk,
    errno=st.sampled_from(ERRNOS),
    at=st.integers(0, 45),
    stays=st.booleans(),
    done=st.booleans(),
)


class FailingStore(RuleBasedStateMachine):
    """Every change on a disk that fails at some step, held against a store that is opened anew."""

    tags = st.sampled_from(["a", "b", "c"])
    contents = st.sampled_from("tuv")

    def __init__(self) -> None:
        super().__init__()
        self.home = TemporaryDirectory(dir=QUICK)
        self.root = Path(self.home.name)
        self.store = opened(self.root / "store")
        self.files = {name: small(self.root / f"{name}.gguf", name) for name in "tuv"}

    def teardown(self) -> None:
        """Remove the folder."""
        self.home.cleanup()

    def attempt(self, disk: BrokenDisk, change: Callable[[Store], object]) -> None:
        """Make a change on a failing disk; the response has to say what has become of it."""
        disk.root = self.root / "store"
        before = in_memory(self.store)
        after = self.wanted(change)
        try:
            with disk.broken():
                change(self.store)
        except Undetermined:
            pass
        except Unconfirmed:
            assert in_memory(self.store) == after
        except (StorageFailure, InsufficientStorage):
            assert in_memory(self.store) == before
        except (ModelNotFound, Conflict):
            assert in_memory(self.store) == before == after
        else:
            assert in_memory(self.store) == after
        self.store.names.prune()  # the disk is well again: it is found out how things are
        assert in_memory(self.store) in (before, after)

    def wanted(self, change: Callable[[Store], object]) -> Tags:
        """Return what a change makes of a copy of the store."""
        copy = self.root / "copy"
        shutil.copytree(self.root / "store", copy, symlinks=True)
        try:
            store = opened(copy)
            try:
                change(store)
            except (ModelNotFound, Conflict):
                pass
            return in_memory(store)
        finally:
            shutil.rmtree(copy)

    @rule(content=contents, tag=tags)
    def take_in(self, content: str, tag: str) -> None:
        """Have a model."""
        asyncio.run(add(self.store, self.files[content], tag))

    @rule(content=contents, tag=tags, disk=disks)
    def fail_to_take_in(self, content: str, tag: str, disk: BrokenDisk) -> None:
        """Import on a failing disk."""
        self.attempt(disk, lambda store: asyncio.run(add(store, self.files[content], tag)))

    @rule(known=tags, wanted=tags, disk=disks)
    def fail_to_tag(self, known: str, wanted: str, disk: BrokenDisk) -> None:
        """Tag on a failing disk."""
        self.attempt(disk, lambda store: store.names.tag(known, wanted))

    @rule(tag=tags, disk=disks)
    def fail_to_remove(self, tag: str, disk: BrokenDisk) -> None:
        """Remove on a failing disk."""
        self.attempt(disk, lambda store: store.names.remove(tag))

    @rule(disk=disks)
    def fail_to_purge(self, disk: BrokenDisk) -> None:
        """Remove everything on a failing disk."""
        self.attempt(disk, lambda store: store.names.purge())

    @rule(disk=disks)
    def fail_to_open(self, disk: BrokenDisk) -> None:
        """Start on a failing disk: with what is there, or not; the next start finds it all."""
        disk.root = self.root / "store"
        before = in_memory(self.store)
        store = Store(self.root / "store")
        try:
            with disk.broken():
                store.open()
        except RunnerdError:
            pass
        self.store = opened(self.root / "store")
        assert in_memory(self.store) == before

    @invariant()
    def agrees(self) -> None:
        """A restart would find what there is."""
        assert on_disk(self.root / "store") == in_memory(self.store)


FailingStore.TestCase.settings = settings(
    max_examples=40, stateful_step_count=12, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
TestFailingStore = FailingStore.TestCase


@pytest.mark.parametrize("change", ["tag", "remove", "import", "repackage"])
async def test_the_commit_point(change: str, tmp_path: Path, real: Path) -> None:
    """What the index names after a failed sync of its folder is in force, and nothing else is
    changed before the disk confirms it.
    """
    root = tmp_path / "store"
    store = opened(root)
    await add(store, real, "m")
    await add(store, small(tmp_path / "k.gguf", "k"), "k")
    before = in_memory(store)

    async def act() -> None:
        if change == "tag":
            store.names.tag("m", "n")
        elif change == "remove":
            store.names.remove("m")
        elif change == "import":
            await add(store, small(tmp_path / "s.gguf"), "s")
        else:
            store.entrance.repackage("m", "r", 128)

    with unsyncable(root), pytest.MonkeyPatch.context() as patch:
        if change == "import":
            with pytest.raises(StorageFailure, match="input/output error"):
                await act()  # found out before the first byte
            patch.setattr(store.room, "check_writable", lambda: None)
        with pytest.raises(Unconfirmed, match="the change was made"):
            await act()
        after = in_memory(store)
        assert after != before
        assert after == on_disk(root)
        with pytest.raises(StorageFailure, match="nothing else is changed"):
            store.names.tag("k", "x")
        assert in_memory(store) == after == on_disk(root)
    store.names.tag("k", "x")
    assert in_memory(store) == on_disk(root)


@contextmanager
def unsyncable(folder: Path) -> Iterator[None]:
    """Let every sync of a folder itself fail."""
    original = os.fsync

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(folder):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def test_every_errno_has_its_sentence(tmp_path: Path) -> None:
    """No two errors of a disk read alike, and none is a number."""
    store = opened(tmp_path / "store")
    asyncio.run(add(store, small(tmp_path / "s.gguf"), "s"))
    told = set()
    for number in ERRNOS:
        disk = BrokenDisk(number, at=0, stays=True, root=tmp_path)
        with disk.broken(), pytest.raises((StorageFailure, InsufficientStorage)) as caught:
            store.names.tag("s", "t")
        assert "the model store" in caught.value.message
        assert "rrno" not in caught.value.message
        told.add(caught.value.message)
    assert len(told) == len(ERRNOS)
