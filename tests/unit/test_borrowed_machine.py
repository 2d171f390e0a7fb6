"""Whatever is done with a store, files that it borrows are as their owner left them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runnerd.errors import RunnerdError
from runnerd.models.store import Store
from tests.support.ggufs import smallest_model

_NAMES = ("a", "b", "c")
names = st.sampled_from(_NAMES)


class BorrowedFiles(RuleBasedStateMachine):
    """An owner's folder, and a store that borrows from it; the model is what the owner wrote."""

    @initialize()
    def begin(self) -> None:
        """With an empty store."""
        self.root = Path(tempfile.mkdtemp(prefix="rdb"))
        self.folder = self.root / "theirs"
        self.folder.mkdir()
        self.written: dict[str, bytes] = {}
        self.start()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.gguf"

    @rule()
    def start(self) -> None:
        """As a daemon starts, after whatever end."""
        self.store = Store(self.root / "store")
        self.store.open()

    # what the owner does

    @rule(name=names, extra=st.integers(0, 2))
    def write(self, name: str, extra: int) -> None:
        """Some content; the same one may lie in several files."""
        self.written[name] = smallest_model() + bytes(extra)
        self.path(name).write_bytes(self.written[name])

    @rule(name=names)
    def remove_file(self, name: str) -> None:
        if self.written.pop(name, None) is not None:
            self.path(name).unlink()

    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        if old in self.written and old != new:
            self.path(old).rename(self.path(new))
            self.written[new] = self.written.pop(old)

    @rule(name=names)
    def touch(self, name: str) -> None:
        if name in self.written:
            os.utime(self.path(name))

    # what is done with the store

    @rule(name=names, borrow=st.booleans())
    def take_in(self, name: str, borrow: bool) -> None:
        """By reference or as a copy."""
        work = self.store.entrance.import_files([self.path(name)], tag=name, borrow=borrow)
        with contextlib.suppress(RunnerdError):
            asyncio.run(work)

    @rule(name=names)
    def repackage(self, name: str) -> None:
        with contextlib.suppress(RunnerdError):
            self.store.entrance.repackage(name, f"{name}-wide", 512)

    @rule(name=st.sampled_from((*_NAMES, "a-wide")))
    def remove(self, name: str) -> None:
        with contextlib.suppress(RunnerdError):
            self.store.names.remove(name)

    @rule()
    def prune(self) -> None:
        self.store.names.prune()

    @rule()
    def purge(self) -> None:
        self.store.names.purge()

    @rule()
    def check(self) -> None:
        self.store.check_borrowed()

    @rule(name=names)
    def load(self, name: str) -> None:
        """What is used is what was hashed."""
        with contextlib.suppress(RunnerdError):
            model = self.store.get(name)
            weights = self.store.resolve(name).weights
            assert weights.stat().st_size == model.manifest.weights[0].size

    @invariant()
    def files_are_as_they_were(self) -> None:
        """Not one byte, name or link more or less."""
        found = {path.stem: path.read_bytes() for path in self.folder.iterdir()}
        assert found == self.written
        assert all(path.stat().st_nlink == 1 for path in self.folder.iterdir())

    @invariant()
    def nothing_is_borrowed_for_nobody(self) -> None:
        """A reference is kept for a model alone."""
        if not self.store.catalog.entries:
            assert self.store.borrowed_bytes() == 0


TestBorrowedFiles = BorrowedFiles.TestCase
TestBorrowedFiles.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
