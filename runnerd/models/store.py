"""The content-addressed store of models: what comes in, what it is called, what goes.

The order of writing makes every crash harmless: blobs, then the bundle, then the manifest, then
the index, each complete and synced before the next; removal goes the other way.  What the index
does not name is not there, and `open` removes it.

One process owns a store.  Changes are made under a lock, in whatever thread; readers use the
current `Catalog`, which is replaced as a whole, so `get` is safe and quick on the event loop at
any time.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from runnerd.backends.interface import ModelFiles
from runnerd.durable import storage_errors
from runnerd.errors import (
    Conflict,
    InsufficientStorage,
    InvalidModelFile,
    ModelNotFound,
    NotFound,
    StorageFailure,
    Unconfirmed,
)
from runnerd.models import archive, bundle
from runnerd.models.catalog import Catalog, Entry, Model, shown, with_tag
from runnerd.models.digest import Digest
from runnerd.models.entrance import Entrance
from runnerd.models.intake import Fetched, Intake, Pending, Progress, is_intact
from runnerd.models.layout import STORE, Layout
from runnerd.models.ledger import Ledger
from runnerd.models.leftovers import Leftovers, at_leisure
from runnerd.models.manifest import (
    repackaged,
)
from runnerd.models.manifest_builder import compose
from runnerd.models.packing import Packed, pack_blobs
from runnerd.models.parts import Part, sweep
from runnerd.models.reference import parse_tag
from runnerd.models.room import Room
from runnerd.models.sources import open_sources
from runnerd.models.store_scan import small_layers
from runnerd.models.uploads import AGE as _UPLOAD_AGE
from runnerd.models.uploads import Uploads
from runnerd.models.worker import Stop, on_loop, run_stoppable

_PART_AGE = 7 * 86400.0  # seconds; nobody takes such a pull up again

Removal = tuple[Literal["Untagged", "Deleted"], str]
Removals = list[Removal]
Models = list[Model]
Texts = list[str]


class Store:
    """All models of a host.  `open` comes first; then every method may be called at any time."""

    def __init__(self, root: Path, *, quota_bytes: int | None = None) -> None:
        self._layout = Layout(root)
        self._lock = lock = threading.RLock()
        self._ledger = ledger = Ledger(self._layout)
        self._claims: Counter[Digest] = Counter()
        self._leftovers = leftovers = Leftovers(self._layout, ledger, self._claims)
        self.room = Room(self._layout, ledger, lock, quota_bytes=quota_bytes)
        self._entrance = Entrance(self._layout, ledger, lock, leftovers=leftovers, room=self.room)
        self.uploads = Uploads(self._layout, self.room.check_space, lambda: set(self._claims))

    def open(self) -> None:
        """Make or read the store and remove what an interrupted change left.

        Quick for an undamaged store (it compares sizes and times, not content).  Blocks; a model
        whose files are damaged is kept and reported when it is used.  Raises errors.StartupError.
        """
        with self._lock:
            self._layout.create()
            complete = self._ledger.open()
            # What cannot be tidied or written is no reason not to serve what is there.
            with at_leisure("leftovers stay"):
                self._leftovers.remove()
            with at_leisure("parts of old pulls stay"):
                sweep(self._layout, age=_PART_AGE)
            with at_leisure("old uploads stay"):
                self.uploads.sweep(age=_UPLOAD_AGE)
            if not complete:
                with at_leisure("what was found in the store is not written down"):
                    self._ledger.save(at_any_rate=True)
            self._layout.hold_space()

    @property
    def _catalog(self) -> Catalog:
        return self._ledger.catalog

    # looking up

    def list(self) -> Models:
        """Return all usable models, newest first."""
        return self._catalog.models()

    def get(self, text: str) -> Model:
        """Return the model that a reference, an id or the last part of a name means.

        Raises errors.ModelNotFound, InvalidModelFile when its files are damaged.
        """
        return self._catalog.get(text)

    def identify(self, text: str) -> Digest:
        """Return the id of what `text` names, for damaged models too.

        Raises errors.ModelNotFound.
        """
        return self._catalog.find(text).id

    def load_of(self, id: str) -> str:
        """Return what a model's engine is started with; a damaged model's is its id."""
        entry = self._catalog.entries.get(Digest.parse(id))
        return id if entry is None or entry.model is None else entry.model.load

    def loaded_as(self, load: str) -> Texts:
        """Return the ids of the models whose engines are started with the same."""
        return [str(model.id) for model in self._catalog.loaded_as(load)]

    def deletes(self, text: str, *, force: bool = True) -> bool:
        """Say whether `remove(text, force=force)` would delete the model and not only a tag.

        Raises errors.ModelNotFound.
        """
        match = self._catalog.find(text)
        several = len(self._catalog.entries[match.id].tags) > 1
        return not several or (match.tag is None and force)

    def resolve(self, model: str) -> ModelFiles:
        """Return where the files of a model or a load are, having checked that they did not change.

        Blocks for a few stat calls.  Raises errors.ModelNotFound, InvalidModelFile.
        """
        sharing = self._catalog.loaded_as(model)
        found = sharing[0] if sharing else self.get(model)
        for layer in found.manifest.layers:
            stamp = self._ledger.stamps.get(layer.digest)
            if not is_intact(self._layout.blob(layer.digest), layer.size, stamp):
                raise InvalidModelFile(
                    f"a file of model {shown(model)} was changed or removed after its import;"
                    " import it again"
                )
        if not bundle.is_complete(self._layout, found.manifest):
            with self._lock, storage_errors(STORE):  # a commit holds it while the disk syncs
                bundle.ensure_bundle(self._layout, found.manifest, found.description)
        files = bundle.bundle_files(self._layout, found.manifest, found.description)
        return replace(files, load=found.load)

    def disk_usage(self) -> int:
        """Return the bytes that the models occupy; what two models share counts once.  Blocks.

        Uploads count too: they are models to be.
        """
        return self.room.usage()

    # coming in

    async def import_files(
        self,
        paths: Sequence[Path],
        *,
        tag: str | None,
        mmproj: Path | None = None,
        chat_template: Path | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Model:
        """Take in a model from local files: one GGUF, a split set, or a folder with one model.

        The files are read and nothing else; what taking them in has cost is the last thing that
        `progress` hears.  Without a `tag` the name comes from the file's (see
        sources.default_reference).  `progress` is called on the event loop.  All or nothing: a
        failure or a cancellation leaves no trace.  Raises errors.InvalidModelFile,
        InvalidReference, NotFound, Forbidden, InsufficientStorage, StorageFailure.
        """
        target = parse_tag(tag) if tag is not None else None
        report = on_loop(progress)

        def work(stop: Stop) -> Model:
            sources = open_sources(paths, mmproj=mmproj, chat_template=chat_template)
            try:
                return self._entrance.take_files(sources, target, report, stop)
            finally:
                sources.close()

        return await run_stoppable(work)

    async def load_archive(
        self,
        chunks: AsyncIterator[bytes],
        progress: Callable[[Progress], None] | None = None,
    ) -> Model:
        """Take in a model from a tar archive in Docker Model Runner's form; it gets no tag.

        All or nothing, as `import_files`.  Raises errors.InvalidModelFile, InsufficientStorage.
        """
        intake = Intake(
            self._layout,
            total=0,
            report=on_loop(progress),
            allow=self.room.check_quota,
        )
        await run_stoppable(lambda stop: self.room.check_writable())
        try:
            raw = await archive.unpack(chunks, intake)
            return await run_stoppable(lambda stop: self._entrance.take_manifest(raw, intake))
        finally:
            # In a thread: what is removed may be large.  It ends even when this task is cancelled.
            await run_stoppable(lambda stop: intake.close())

    # coming in from elsewhere

    def part(self, key: Digest) -> Part:
        """Return the part of a file that is being fetched; open it before use."""
        path = self._layout.part(key)
        return Part(self._layout, key, lambda size: self.room.check_quota(size, beside=path))

    def claim(self, digest: Digest) -> Pending | None:
        """Keep a blob from being removed until `disclaim`; return it if it is here and unchanged.

        What is not here yet may be claimed too.  Blocks while another change is written.
        """
        path = self._layout.blob(digest)
        with self._lock:
            self._claims[digest] += 1
            stamp = self._ledger.stamps.get(digest)
        try:
            status = path.lstat()
        except OSError:
            return None
        return Pending(path, digest, status.st_size) if status.st_mtime_ns == stamp else None

    def disclaim(self, digest: Digest) -> None:
        """End one claim; blocks while another change is written."""
        with self._lock:
            self._claims[digest] -= 1
            if self._claims[digest] <= 0:
                del self._claims[digest]

    def accept(
        self,
        files: Sequence[Fetched],
        *,
        manifest: bytes | None,
        tag: str | None,
    ) -> Model:
        """Make a model of files that were fetched, claimed and verified; blocks.

        With the model's own `manifest` it is kept byte for byte; else one is made, and the files
        are its layers in this order.  Raises errors.InvalidModelFile, InsufficientStorage.
        """
        blobs = {file.pending.digest: file.pending for file in files}
        with Intake(self._layout, total=0) as intake:
            intake.blobs |= blobs
            if manifest is not None:
                return self._entrance.take_manifest(manifest, intake, tag)
            made, description = compose(intake, files)
            return self._entrance.commit(intake, made, description, int(time.time()), tag)

    def fresh(self) -> Path:
        """Return a name for a temporary file on the store's disk that nobody has."""
        return self._layout.fresh()

    def ingredient(self, digest: Digest) -> Pending:
        """Return a claimed blob or upload, for `accept`.  Raises errors.NotFound; blocks."""
        path, stamp = self._layout.blob(digest), self._ledger.stamps.get(digest)
        if stamp is not None and os.path.lexists(path):
            size = path.lstat().st_size
            if is_intact(path, size, stamp):
                return Pending(path, digest, size)
        if (found := self.uploads.find(digest)) is not None:
            return found
        raise NotFound(f"there is no blob {digest}; send it to POST /api/blobs/{digest} first")

    def texts(self, model: Model, media_type: str) -> Texts:
        """Return the contents of a model's small layers of one type.  Raises OSError; blocks."""
        return small_layers(self._layout, model.manifest, media_type)

    def pack(self, text: str) -> Packed:
        """Return a model as a tar archive in Docker Model Runner's form.  Raises as `get`."""
        manifest = self.get(text).manifest
        return pack_blobs(
            manifest, {layer.digest: self._layout.blob(layer.digest) for layer in manifest.blobs}
        )

    # names and removal

    def tag(self, model: str, target: str) -> str:
        """Let the tag `target` point at `model`; return its canonical form.

        A tag that pointed elsewhere is moved.  Raises errors.ModelNotFound, InvalidReference.
        """
        reference = parse_tag(target)
        with self._lock:
            entry = self._catalog.entries[self._catalog.find(model).id]
            self._ledger.change(with_tag(self._catalog.entries.values(), entry, str(reference)))
        return str(reference)

    def repackage(self, model: str, target: str, context_size: int | None) -> str:
        """Make a model of the same files with another context size, named `target`; blocks.

        Returns the canonical tag.  Raises errors.ModelNotFound, InvalidReference, InvalidModelFile,
        InsufficientStorage.
        """
        tag, found = str(parse_tag(target)), self.get(model)
        config = self._layout.blob(found.manifest.config.digest)
        layers = [layer.digest for layer in found.manifest.layers]
        claimed = [(digest, self.claim(digest)) for digest in layers]
        try:
            with Intake(self._layout, total=0) as intake:
                manifest, changed = repackaged(found.manifest, config.read_bytes(), context_size)
                intake.add_bytes(changed)
                intake.blobs |= {digest: blob for digest, blob in claimed if blob is not None}
                self._entrance.take_manifest(manifest.raw, intake, tag)
        except FileNotFoundError as error:
            raise ModelNotFound(f"model {shown(model)} is no longer here") from error
        finally:
            for digest, _ in claimed:
                self.disclaim(digest)
        return tag

    def remove(self, text: str, *, force: bool = False) -> Removals:
        """Remove a tag, and with the last one the model; or a model by its id with all its tags.

        Blobs that another model has stay.  Returns what was done, in order.  Raises
        errors.ModelNotFound, and Conflict for an id with several tags unless `force`;
        InsufficientStorage, StorageFailure (of which an Unconfirmed removal has happened).
        """
        with self._lock:
            match = self._catalog.find(text)
            entry = self._catalog.entries[match.id]
            if match.tag is None and len(entry.tags) > 1 and not force:
                raise Conflict(
                    f"model {shown(text)} has several tags ({', '.join(entry.tags)});"
                    " remove one of them, or force the removal of all"
                )
            gone = entry.tags if match.tag is None else (match.tag,)
            kept = tuple(tag for tag in entry.tags if tag not in gone)
            done: Removals = [("Untagged", tag) for tag in gone]
            if kept:
                self._ledger.change(self._ledger.replaced(entry.with_tags(kept)))
                return done
            self._delete([entry])
            return [*done, ("Deleted", str(entry.id))]

    def prune(self, *, age: float = 0.0) -> int:
        """Remove what no model has: leftover blobs, and parts unused for `age` seconds; blocks.

        What a pull or push is using stays.  Returns the bytes that became free.
        """
        with self._lock, storage_errors(STORE):
            self._ledger.settle()
            before = self.room.usage()
            self._leftovers.remove()
            self.uploads.sweep(age=age)
            return before - self.room.usage() + sweep(self._layout, age=age)

    def has(self, id: str) -> bool:
        """Say whether there is a model with this id, damaged or not."""
        return Digest.parse(id) in self._catalog.entries

    def purge(self) -> None:
        """Remove every model.  Raises as `remove`."""
        with self._lock:
            self._delete(list(self._catalog.entries.values()))

    # removal

    def _delete(self, gone: Sequence[Entry]) -> None:
        ids = {entry.id for entry in gone}
        kept = [entry for entry in self._catalog.entries.values() if entry.id not in ids]
        self._ledger.change(kept, at_any_rate=True)
        try:
            with storage_errors(STORE):
                self._leftovers.remove()
        except (InsufficientStorage, StorageFailure) as error:
            raise Unconfirmed(
                "it was removed, but not all of its files could be; `runnerd prune` tries again:"
                f" {error.message}"
            ) from error
        self._layout.hold_space()
