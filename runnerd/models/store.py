"""The content-addressed store of models: what comes in, what it is called, what goes.

The order of writing makes every crash harmless: blobs, then the bundle, then the manifest, then
the index, each complete and synced before the next; removal goes the other way.  What the index
does not name is not there, and `open` removes it.

One process owns a store.  Changes are made under a lock, in whatever thread; readers use the
current `Catalog`, which is replaced as a whole, so `get` is safe and quick on the event loop at
any time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
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
    StartupError,
)
from runnerd.models import archive, bundle
from runnerd.models.catalog import Catalog, Entry, Model, shown, with_tag
from runnerd.models.composing import compose, describe_intake
from runnerd.models.description import Description, binary_size
from runnerd.models.digest import Digest
from runnerd.models.index import IndexedModel, read_index, write_index
from runnerd.models.intake import Fetched, Intake, Pending, Progress, check_space, is_intact
from runnerd.models.layout import Layout
from runnerd.models.manifest import (
    Layer,
    Manifest,
    build_config,
    build_manifest,
    packaged_context_size,
    parse_manifest,
    repackaged,
)
from runnerd.models.packing import Packed, pack_blobs
from runnerd.models.parts import Part, sweep
from runnerd.models.reference import Reference, parse_tag
from runnerd.models.sources import Source, Sources, default_reference, open_sources
from runnerd.models.stored import load_entry, named_blobs, remove_except, small_layers
from runnerd.models.uploads import AGE as _UPLOAD_AGE
from runnerd.models.uploads import Uploads
from runnerd.models.worker import Stop, on_loop, run_stoppable

log = logging.getLogger(__name__)

_PART_AGE = 7 * 86400.0  # seconds; nobody takes such a pull up again
LINK_BYTES = 64 * 2**20  # smaller files are copied: cheap, and safe from changes to the original

Removal = tuple[Literal["Untagged", "Deleted"], str]
Removals = list[Removal]
Models = list[Model]
Entries = list[Entry]
Texts = list[str]


class Store:
    """All models of a host.  `open` comes first; then every method may be called at any time."""

    def __init__(
        self, root: Path, *, link_bytes: int = LINK_BYTES, quota_bytes: int | None = None
    ) -> None:
        self._layout = Layout(root)
        self._link_bytes = link_bytes
        self._quota_bytes = quota_bytes
        self._lock = threading.RLock()
        self._catalog = Catalog()
        self._stamps: dict[Digest, int] = {}
        self._claims: Counter[Digest] = Counter()
        self.uploads = Uploads(self._layout, self.check_space, lambda: set(self._claims))

    def open(self) -> None:
        """Make or read the store and remove what an interrupted change left.

        Quick for an undamaged store (it compares sizes and times, not content).  Blocks; a model
        whose files are damaged is kept and reported when it is used.  Raises errors.StartupError.
        """
        with self._lock:
            self._layout.create()
            models, self._stamps = read_index(self._layout)
            known = dict(self._stamps)
            self._catalog = Catalog(
                [load_entry(self._layout, self._stamps, line) for line in models]
            )
            try:
                self._remove_unnamed()
                sweep(self._layout, age=_PART_AGE)
                self.uploads.sweep(age=_UPLOAD_AGE)
                if self._stamps != known or not self._layout.index.exists():
                    self._save_index(at_any_rate=True)  # a full disk is no reason not to start
                self._layout.hold_space()
            except OSError as error:
                raise StartupError(
                    f"the model store cannot be written: {error.strerror} ({error.filename})"
                ) from error

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
            stamp = self._stamps.get(layer.digest)
            if not is_intact(self._layout.blob(layer.digest), layer.size, stamp):
                raise InvalidModelFile(
                    f"a file of model {shown(model)} was changed or removed after its import;"
                    " import it again"
                )
        if not bundle.is_complete(self._layout, found.manifest):
            with self._lock:  # only here: a commit holds it while the disk syncs
                bundle.ensure_bundle(self._layout, found.manifest, found.description)
        files = bundle.bundle_files(self._layout, found.manifest, found.description)
        return replace(files, load=found.load)

    def disk_usage(self) -> int:
        """Return the bytes that the models occupy; what two models share counts once.  Blocks.

        Uploads count too: they are models to be.
        """
        folders = (self._layout.blobs, self._layout.manifests, self._layout.uploads)
        return sum(entry.stat().st_size for folder in folders for entry in os.scandir(folder))

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

        Without a `tag` the name comes from the file's (see sources.default_reference).  `progress`
        is called on the event loop.  All or nothing: a failure or a cancellation leaves no trace.
        Raises errors.InvalidModelFile, InvalidReference, NotFound, Forbidden, InsufficientStorage.
        """
        target = parse_tag(tag) if tag is not None else None
        report = on_loop(progress)

        def work(stop: Stop) -> Model:
            sources = open_sources(paths, mmproj=mmproj, chat_template=chat_template)
            try:
                return self._import(sources, target, report, stop)
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
            link_bytes=self._link_bytes,
            report=on_loop(progress),
            allow=self._check_quota,
        )
        try:
            raw = await archive.unpack(chunks, intake)
            return await run_stoppable(lambda stop: self._accept(raw, intake))
        finally:
            # In a thread: what is removed may be large.  It ends even when this task is cancelled.
            await run_stoppable(lambda stop: intake.close())

    # coming in from elsewhere

    def part(self, key: Digest) -> Part:
        """Return the part of a file that is being fetched; open it before use."""
        return Part(self._layout, key, self._check_quota)

    def claim(self, digest: Digest) -> Pending | None:
        """Keep a blob from being removed until `disclaim`; return it if it is here and unchanged.

        What is not here yet may be claimed too.  Blocks while another change is written.
        """
        path = self._layout.blob(digest)
        with self._lock:
            self._claims[digest] += 1
            stamp = self._stamps.get(digest)
        try:
            status = path.stat()
        except OSError:
            return None
        return Pending(path, digest, status.st_size) if status.st_mtime_ns == stamp else None

    def disclaim(self, digest: Digest) -> None:
        """End one claim; blocks while another change is written."""
        with self._lock:
            self._claims[digest] -= 1
            if self._claims[digest] <= 0:
                del self._claims[digest]

    def check_space(self, size: int) -> None:
        """Raise errors.InsufficientStorage where `size` further bytes would fill disk or quota."""
        check_space(self._layout.root, size)
        self._check_quota(size)

    def _check_quota(self, size: int) -> None:
        quota = self._quota_bytes
        if quota is not None and size + self.disk_usage() > quota:
            raise InsufficientStorage(
                f"the model needs {binary_size(size)} and the models may occupy"
                f" {binary_size(quota)}; remove some with `runnerd rm`, leftovers with"
                " `runnerd prune`, or raise store_quota"
            )

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
        with Intake(self._layout, total=0, link_bytes=self._link_bytes) as intake:
            intake.blobs |= blobs
            if manifest is not None:
                return self._accept(manifest, intake, tag)
            made, description = compose(intake, files)
            return self._commit(intake, made, description, int(time.time()), tag)

    def fresh(self) -> Path:
        """Return a name for a temporary file on the store's disk that nobody has."""
        return self._layout.fresh()

    def ingredient(self, digest: Digest) -> Pending:
        """Return a claimed blob or upload, for `accept`.  Raises errors.NotFound; blocks."""
        path, stamp = self._layout.blob(digest), self._stamps.get(digest)
        if stamp is not None and path.exists() and is_intact(path, path.stat().st_size, stamp):
            return Pending(path, digest, path.stat().st_size)
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
            self._change(with_tag(self._catalog.entries.values(), entry, str(reference)))
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
            with Intake(self._layout, total=0, link_bytes=self._link_bytes) as intake:
                manifest, changed = repackaged(found.manifest, config.read_bytes(), context_size)
                intake.add_bytes(changed)
                intake.blobs |= {digest: blob for digest, blob in claimed if blob is not None}
                self._accept(manifest.raw, intake, tag)
        except FileNotFoundError as error:
            raise ModelNotFound(f"model {shown(model)} is no longer here") from error
        finally:
            for digest, _ in claimed:
                self.disclaim(digest)
        return tag

    def remove(self, text: str, *, force: bool = False) -> Removals:
        """Remove a tag, and with the last one the model; or a model by its id with all its tags.

        Blobs that another model has stay.  Returns what was done, in order.  Raises
        errors.ModelNotFound, and Conflict for an id with several tags unless `force`.
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
                self._change(self._replaced(entry.with_tags(kept)))
                return done
            self._delete([entry])
            return [*done, ("Deleted", str(entry.id))]

    def prune(self, *, age: float = 0.0) -> int:
        """Remove what no model has: leftover blobs, and parts unused for `age` seconds; blocks.

        What a pull or push is using stays.  Returns the bytes that became free.
        """
        with self._lock:
            before = self.disk_usage()
            self._remove_unnamed()
            self.uploads.sweep(age=age)
            return before - self.disk_usage() + sweep(self._layout, age=age)

    def purge(self) -> None:
        """Remove every model."""
        with self._lock:
            self._delete(list(self._catalog.entries.values()))

    # how a model comes in

    def _import(
        self,
        sources: Sources,
        target: Reference | None,
        report: Callable[[Progress], None] | None,
        stop: Stop,
    ) -> Model:
        total = sum(source.size for source in sources.files)
        self._check_quota(total)
        with Intake(
            self._layout, total=total, link_bytes=self._link_bytes, report=report, stop=stop
        ) as intake:
            layers = [_take_in(intake, source) for source in sources.files]
            names = [source.name for source in sources.files]
            description = describe_intake(intake, layers, names)
            config = build_config(description, layers)
            intake.add_bytes(config)
            manifest = build_manifest(config, layers)
            stop.check()
            tag = str(target or default_reference(sources.name))
            return self._commit(intake, manifest, description, sources.modified_at, tag)

    def _accept(self, raw: bytes, intake: Intake, tag: str | None = None) -> Model:
        """Check what came with its own manifest and make it a model.  `intake` holds its blobs."""
        manifest = parse_manifest(raw)
        for layer in manifest.blobs:
            pending = intake.blobs.get(layer.digest)
            if pending is None or pending.size != layer.size:
                raise InvalidModelFile(
                    f"the model lacks the blob {layer.digest} of {layer.size} bytes that it lists"
                )
        intake.keep_only({layer.digest for layer in manifest.blobs})
        packaged = packaged_context_size(
            intake.blobs[manifest.config.digest].temporary.read_bytes()
        )
        names = [layer.digest.short for layer in manifest.layers]
        description = describe_intake(intake, manifest.layers, names, packaged)
        return self._commit(intake, manifest, description, int(time.time()), tag)

    def _commit(
        self,
        intake: Intake,
        manifest: Manifest,
        description: Description,
        created: int,
        tag: str | None,
    ) -> Model:
        """Make the model visible, as the last step of its way in."""
        with self._lock, storage_errors():
            try:
                self._stamps |= intake.publish(self._stamps)
                bundle.ensure_bundle(self._layout, manifest, description)
                self._layout.write(self._layout.manifest(manifest.id), manifest.raw)
                old = self._catalog.entries.get(manifest.id)
                tags, created = (old.tags, old.created) if old else ((), created)
                entry = Entry.of(manifest, description, tags, created)
                entries = self._replaced(entry)
                self._change(with_tag(entries, entry, tag) if tag else entries)
            except BaseException:
                self._remove_unnamed()
                raise
            return self._catalog.get(str(manifest.id))

    # the index

    def _replaced(self, entry: Entry) -> Entries:
        return list((self._catalog.entries | {entry.id: entry}).values())

    def _change(self, entries: Iterable[Entry], *, at_any_rate: bool = False) -> None:
        """Make `entries` the store's models, on disk first."""
        old, self._catalog = self._catalog, Catalog(entries)
        try:
            self._save_index(at_any_rate=at_any_rate)
        except BaseException:
            self._catalog = old
            raise

    def _save_index(self, *, at_any_rate: bool = False) -> None:
        """Write the index down; `at_any_rate` on a full disk in the space that was held back."""
        entries = self._catalog.entries.values()
        lines = [IndexedModel(entry.id, entry.tags, entry.created) for entry in entries]
        try:
            write_index(self._layout, lines, self._stamps)
        except InsufficientStorage:
            if not at_any_rate:
                raise
            self._layout.free_space()
            write_index(self._layout, lines, self._stamps)

    # removal

    def _delete(self, gone: Sequence[Entry]) -> None:
        ids = {entry.id for entry in gone}
        kept = [entry for entry in self._catalog.entries.values() if entry.id not in ids]
        self._change(kept, at_any_rate=True)
        self._remove_unnamed()
        self._layout.hold_space()

    def _remove_unnamed(self) -> None:
        """Remove every file that no model of the index has.

        Blobs stay while a damaged model's manifest cannot be read: they may be its own.
        """
        ids = {id.hex for id in self._catalog.entries}
        remove_except(self._layout.manifests, ids)
        remove_except(self._layout.bundles, ids)
        named = named_blobs(self._layout, self._catalog.entries.values())
        if named is not None:
            blobs = named | set(self._claims)
            self._stamps = {
                digest: stamp for digest, stamp in self._stamps.items() if digest in blobs
            }
            remove_except(self._layout.blobs, {digest.hex for digest in blobs})


def _take_in(intake: Intake, source: Source) -> Layer:
    pending = intake.add_file(source)
    return Layer(source.media_type, pending.size, pending.digest)
