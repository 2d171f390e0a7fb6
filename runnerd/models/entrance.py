"""How a model comes in: from files of this host, an archive, a pull, uploads, or another model.

All or nothing: blobs first, then the bundle, then the manifest, then the index.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from threading import RLock

from runnerd import threads
from runnerd.durable import storage_errors
from runnerd.errors import Conflict, InvalidModelFile, ModelNotFound, NotFound
from runnerd.models import archive, bundle
from runnerd.models.blob_writer import Pending
from runnerd.models.catalog import Entry, shown, with_tag
from runnerd.models.claims import BlobClaims
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.intake import Fetched, Intake, Progress
from runnerd.models.layout import STORE, Layout, is_intact
from runnerd.models.ledger import Ledger, provisional
from runnerd.models.leftovers import Leftovers
from runnerd.models.manifest import (
    GGUF_TYPE,
    MMPROJ_TYPE,
    MOST_BYTES,
    Layer,
    Manifest,
    build_config,
    build_manifest,
    packaged_context_size,
    parse_manifest,
    repackaged,
)
from runnerd.models.manifest_builder import compose, describe_intake
from runnerd.models.model import Model
from runnerd.models.modelpack import PackedLayer, modelpack_layers
from runnerd.models.parts import Part
from runnerd.models.reference import Reference, parse_tag
from runnerd.models.room import Room
from runnerd.models.sources import Source, Sources, default_reference, open_sources
from runnerd.models.uploads import Uploads
from runnerd.regular import read
from runnerd.threads import Stop, on_loop, run_stoppable


class Entrance:
    """Makes models of what comes in.  `lock` is the store's.  What is no coroutine blocks."""

    def __init__(
        self,
        layout: Layout,
        ledger: Ledger,
        lock: RLock,
        *,
        claims: BlobClaims,
        leftovers: Leftovers,
        room: Room,
        uploads: Uploads,
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._lock = lock
        self._claims = claims
        self._uploads = uploads
        self._leftovers = leftovers
        self._room = room

    async def import_files(
        self,
        paths: Sequence[Path],
        *,
        tag: str | None,
        mmproj: Path | None = None,
        chat_template: Path | None = None,
        borrow: bool = False,
        keep_names: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Model:
        """Take in a model from local files: one GGUF, a split set, or a folder with one model.

        To `borrow` is to leave its GGUF files where they are and to use them there (`borrowed`).
        With `keep_names` no other model loses its name to this one: errors.Conflict.

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
                return self.take_files(
                    sources, target, report, stop, borrow=borrow, keep_names=keep_names
                )
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
            allow=lambda size, own: self._room.check_quota(size, beside=own),
        )
        await threads.run(self._room.check_writable)
        try:
            raw = await archive.unpack(chunks, intake)
            return await threads.run(self.take_manifest, raw, intake)
        finally:
            # In a thread: what is removed may be large.  It ends even when this task is cancelled.
            await threads.run_to_end(intake.close)

    def part(self, key: Digest) -> Part:
        """Return the part of a file that is being fetched; open it before use."""
        path = self._layout.part(key)
        return Part(self._layout, key, lambda size: self._room.check_growth(size, path))

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
                return self.take_manifest(manifest, intake, tag)
            made, description = compose(intake, files)
            return self.commit(intake, made, description, int(time.time()), tag)

    def fresh(self) -> Path:
        """Return a name for a temporary file on the store's disk that nobody has."""
        return self._layout.fresh()

    def ingredient(self, digest: Digest) -> Pending:
        """Return a claimed blob or upload, for `accept`.  Raises errors.NotFound; blocks."""
        borrowed = self._layout.borrowed.get(digest)
        if borrowed is not None and borrowed.is_intact():
            return Pending(Path(borrowed.path), digest, borrowed.size, borrowed)
        path, stamp = self._layout.blob(digest), self._ledger.stamps.get(digest)
        if stamp is not None and os.path.lexists(path):
            size = path.lstat().st_size
            if is_intact(path, size, stamp):
                return Pending(path, digest, size)
        if (found := self._uploads.find(digest)) is not None:
            return found
        raise NotFound(f"there is no blob {digest}; send it to POST /api/blobs/{digest} first")

    def repackage(self, model: str, target: str, context_size: int | None) -> str:
        """Make a model of the same files with another context size, named `target`; blocks.

        Returns the canonical tag.  Raises errors.ModelNotFound, InvalidReference, InvalidModelFile,
        InsufficientStorage.
        """
        tag, found = str(parse_tag(target)), self._ledger.catalog.get(model)
        config = self._layout.blob(found.manifest.config.digest)
        layers = [layer.digest for layer in found.manifest.layers]
        claimed = [(digest, self._claims.claim(digest)) for digest in layers]
        try:
            with Intake(self._layout, total=0) as intake:
                manifest, changed = repackaged(found.manifest, config.read_bytes(), context_size)
                intake.add_bytes(changed)
                intake.blobs |= {digest: blob for digest, blob in claimed if blob is not None}
                self.take_manifest(manifest.raw, intake, tag)
        except FileNotFoundError as error:
            raise ModelNotFound(f"model {shown(model)} is no longer here") from error
        finally:
            for digest, _ in claimed:
                self._claims.disclaim(digest)
        return tag

    # one model, once its files are at hand

    def take_files(
        self,
        sources: Sources,
        target: Reference | None,
        report: Callable[[Progress], None] | None,
        stop: Stop,
        *,
        borrow: bool = False,
        keep_names: bool = False,
    ) -> Model:
        """Take in a model from open files, or borrow these."""
        total = sum(source.size for source in sources.files)
        self._room.check_writable()
        self._room.check_quota(0 if borrow else total)
        with (
            storage_errors(STORE),
            Intake(self._layout, total=total, report=report, stop=stop) as intake,
        ):
            layers = [_take_in(intake, source, borrow=borrow) for source in sources.files]
            names = [source.name for source in sources.files]
            description = describe_intake(intake, layers, names)
            config = build_config(description, layers)
            intake.add_bytes(config)
            manifest = build_manifest(config, layers)
            stop.check()
            tag = str(target or default_reference(sources.name))
            with self._lock:
                if keep_names:
                    self._check_unnamed(tag, manifest.id)
                model = self.commit(intake, manifest, description, sources.modified_at, tag)
            if report:
                report(Progress(total, "", 0, 0, str(intake.cost)))
            return model

    def _check_unnamed(self, tag: str, id: Digest) -> None:
        """Raise errors.Conflict where another model is called so."""
        for entry in self._ledger.catalog.entries.values():
            if entry.id != id and tag.lower() in (name.lower() for name in entry.tags):
                raise Conflict(
                    f"{tag} is a name of {entry.id.short} already; name this one otherwise (--tag),"
                    " or take the name from there (--force)"
                )

    def take_manifest(self, raw: bytes, intake: Intake, tag: str | None = None) -> Model:
        """Check what came with its own manifest and make it a model.  `intake` holds its blobs."""
        if (packed := modelpack_layers(raw)) is not None:
            return self._take_packed(packed, intake, tag)
        manifest = parse_manifest(raw)
        for layer in manifest.blobs:
            pending = intake.blobs.get(layer.digest)
            if pending is None or pending.size != layer.size:
                raise InvalidModelFile(
                    f"the model lacks the blob {layer.digest} of {layer.size} bytes that it lists"
                )
        intake.keep_only({layer.digest for layer in manifest.blobs})
        names = [layer.digest.short for layer in manifest.layers]
        with storage_errors(STORE):
            config = read(intake.blobs[manifest.config.digest].temporary, most=MOST_BYTES)
            packaged = packaged_context_size(config)
            description = describe_intake(intake, manifest.layers, names, packaged)
        return self.commit(intake, manifest, description, int(time.time()), tag)

    def _take_packed(self, packed: Sequence[PackedLayer], intake: Intake, tag: str | None) -> Model:
        """Make a packed model one of ours."""
        files = []
        for path, layer in packed:
            pending = intake.blobs.get(layer.digest)
            if pending is None or pending.size != layer.size:
                raise InvalidModelFile(
                    f"the model lacks the blob {layer.digest} of {layer.size} bytes that it lists"
                )
            files.append(Fetched(path or layer.digest.short, layer.media_type, pending))
        intake.keep_only({layer.digest for _, layer in packed})
        made, description = compose(intake, files)
        return self.commit(intake, made, description, int(time.time()), tag)

    def commit(
        self,
        intake: Intake,
        manifest: Manifest,
        description: Description,
        created: int,
        tag: str | None,
    ) -> Model:
        """Make the model visible, as the last step of its way in."""
        with self._lock, storage_errors(STORE):
            self._ledger.settle()
            try:
                with provisional():
                    intake.publish(self._ledger.stamps)
                    bundle.ensure_bundle(self._layout, manifest, description)
                    self._layout.write(self._layout.manifest(manifest.id), manifest.raw)
                old = self._ledger.catalog.entries.get(manifest.id)
                tags, created = (old.tags, old.created) if old else ((), created)
                entry = Entry.of(manifest, description, tags, created, self._layout.borrowed)
                entries = self._ledger.replaced(entry)
                self._ledger.change(with_tag(entries, entry, tag) if tag else entries)
            except BaseException:
                self._leftovers.remove_if_possible()
                raise
            return self._ledger.catalog.get(str(manifest.id))


def _take_in(intake: Intake, source: Source, *, borrow: bool) -> Layer:
    borrowed = borrow and source.media_type in (GGUF_TYPE, MMPROJ_TYPE)
    pending = intake.borrow_file(source) if borrowed else intake.add_file(source)
    return Layer(source.media_type, pending.size, pending.digest)
