"""`model_dirs`: folders whose GGUF files are models, used where they lie (`borrowed`).

The folders are looked through again and again.  What is new, and does not change any more, is
hashed once and becomes a model under its file's name; what was moved keeps its model; what is gone
or was changed makes its model unusable, which is said, until it is back.  A model that somebody
removed stays away until its file changes.  Nothing in these folders is ever written or removed.

What has been seen is kept in a small file, so that a start hashes nothing anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from runnerd import threads
from runnerd.durable import replace as replace_file
from runnerd.errors import ClientError, ModelNotFound, RunnerdError
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.catalog import Entry
from runnerd.models.folder_scan import UnsafeFolder, files_below
from runnerd.models.found_models import FoundModel, gguf_sets
from runnerd.models.sources import default_reference
from runnerd.models.store import Store
from runnerd.regular import read_json

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds between two looks
_MOST_BYTES = 64 * 2**20  # of the file with what has been seen
_NONE = ""  # the id of a file that is no model


class _Seen(msgspec.Struct, frozen=True):
    """A set of files that was looked at: what they were, and the model that they are."""

    files: tuple[BorrowedFile, ...]
    model: str


class ModelFolders:
    """Keeps the store in step with the owner's folders.  `run` it as a task."""

    def __init__(self, store: Store, folders: Callable[[], Sequence[Path]], record: Path) -> None:
        self._store = store
        self._folders = folders
        self._record = record
        self._seen: dict[str, _Seen] = {}  # by the path of a set's first file
        self._before: dict[str, BorrowedFile] = {}
        self._told: set[str] = set()
        self._opened = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            if self._folders() or self._store.borrowed_bytes():
                try:
                    await self.look()
                except RunnerdError as error:  # the disk may be full; the next look tries again
                    self._tell(f"the folders of models: {error.message}")
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Look once, and take in what is new.  Raises errors.StorageFailure and others."""
        for model in await threads.run(self._look):
            await self._take_in(model)

    # in a thread

    def _look(self) -> list[FoundModel]:
        """The sets of files that are to become models."""
        if not self._opened:
            self._seen, self._opened = self._read(), True
        found = self._files()
        self._follow_moves(found)
        self._store.check_borrowed()
        new = []
        for model in self._sets(found):
            files = self._files_of(model, found)
            settled = all(self._before.get(file.path) == file for file in files)
            known = self._seen.get(str(model.path))
            if settled and (known is None or known.files != files):
                new.append(model)
        self._before = found
        return new

    def _files(self) -> dict[str, BorrowedFile]:
        found: dict[str, BorrowedFile] = {}
        for folder in self._folders():
            try:
                found |= files_below(folder)
            except UnsafeFolder as error:
                self._tell(f"model_dirs: {error}")
            except OSError as error:
                self._tell(f"model_dirs: {folder} cannot be looked through: {error.strerror}")
        return found

    def _sets(self, found: dict[str, BorrowedFile]) -> Iterable[FoundModel]:
        """The models of all folders; only of files that were found to be what they seem."""
        for folder in sorted({Path(path).parent for path in found}):
            for model in gguf_sets(folder):
                if all(str(path) in found for path in model.files):
                    yield model

    def _files_of(
        self, model: FoundModel, found: dict[str, BorrowedFile]
    ) -> tuple[BorrowedFile, ...]:
        return tuple(found[str(path)] for path in model.files)

    def _follow_moves(self, found: dict[str, BorrowedFile]) -> None:
        """A file that is gone, and is elsewhere under the same number of its disk, was moved."""
        by_identity = {_identity(file): file for file in found.values()}
        moved: dict[str, BorrowedFile] = {}
        for seen in self._seen.values():
            for file in seen.files:
                now = by_identity.get(_identity(file))
                if file.path not in found and now is not None and now.path != file.path:
                    moved[file.path] = now
        if not moved:
            return
        self._store.move_borrowed(moved)
        for path, now in moved.items():
            log.info("the model file %s was moved to %s", path, now.path)
        self._seen = {
            files[0].path: _Seen(files, seen.model)
            for seen in self._seen.values()
            if (files := tuple(moved.get(file.path, file) for file in seen.files))
        }
        self._before |= {now.path: now for now in moved.values()}
        self._write()

    # what is new

    async def _take_in(self, model: FoundModel) -> None:
        files = tuple(self._before[str(path)] for path in model.files)
        before = self._seen.get(str(model.path))
        id = _NONE
        try:
            tag = self._name_for(model, before)
            made = await self._store.entrance.import_files(
                [model.path], tag=tag, mmproj=model.mmproj, borrow=True
            )
            id = str(made.id)
            log.info("%s is served from %s", tag, model.path)
        except ClientError as error:
            self._tell(f"model_dirs: {model.path}: {error.message}")
        self._seen[str(model.path)] = _Seen(files, id)
        await threads.run(self._settle, before, id)

    def _settle(self, before: _Seen | None, id: str) -> None:
        """Forget what a changed file was before, unless it has a name of its own; write down."""
        if before is not None and before.model not in (_NONE, id):
            self._forget_if_nameless(before.model)
        self._write()

    def _forget_if_nameless(self, id: str) -> None:
        try:
            entry = self._store.catalog.entries[self._store.identify(id)]
        except (ModelNotFound, KeyError):
            return
        if not entry.tags:
            self._store.names.remove(id)

    def _name_for(self, model: FoundModel, before: _Seen | None) -> str:
        """A name that no other model has.  Raises errors.ClientError where all are taken."""
        plain = default_reference(model.path.name)
        longer = default_reference(f"{model.path.parent.name}-{model.path.name}")
        for name in (plain, longer):
            owner = self._owner(str(name))
            if owner is None or (before is not None and str(owner.id) == before.model):
                return str(name)
            if owner.model is not None and str(model.path) in self._store.borrowed(owner.model):
                return str(name)
        raise ClientError(
            f"its name {plain} is another model's;"
            f" `runnerd import --in-place {model.path} --tag NAME` gives it one"
        )

    def _owner(self, name: str) -> Entry | None:
        entries = self._store.catalog.entries.values()
        return next((entry for entry in entries if name in entry.tags), None)

    # what was seen, on disk

    def _read(self) -> dict[str, _Seen]:
        try:
            return read_json(self._record, dict[str, _Seen], most=_MOST_BYTES)
        except FileNotFoundError:
            return {}
        except OSError as error:  # everything is hashed once more, and nothing is lost
            log.warning("%s cannot be read and is made anew: %s", self._record, error.strerror)
            return {}

    def _write(self) -> None:
        replace_file(self._record, msgspec.json.encode(self._seen))

    def _tell(self, problem: str) -> None:
        """Log a problem once."""
        if problem not in self._told:
            self._told.add(problem)
            log.warning("%s", problem)


def _identity(file: BorrowedFile) -> tuple[int, int, int, int]:
    return file.device, file.inode, file.size, file.modified_ns
