"""How a model comes in, once its files are at hand: all or nothing.

Blobs first, then the bundle, then the manifest, then the index.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock

from runnerd.durable import storage_errors
from runnerd.errors import InvalidModelFile
from runnerd.models import bundle
from runnerd.models.catalog import Entry, Model, with_tag
from runnerd.models.description import Description
from runnerd.models.intake import Intake, Progress
from runnerd.models.layout import STORE, Layout
from runnerd.models.ledger import Ledger, provisional
from runnerd.models.leftovers import Leftovers
from runnerd.models.manifest import (
    MOST_BYTES,
    Layer,
    Manifest,
    build_config,
    build_manifest,
    packaged_context_size,
    parse_manifest,
)
from runnerd.models.manifest_builder import describe_intake
from runnerd.models.reference import Reference
from runnerd.models.room import Room
from runnerd.models.sources import Source, Sources, default_reference
from runnerd.models.worker import Stop
from runnerd.regular import read


class Entrance:
    """Makes models of what an intake holds.  `lock` is the store's.  Methods block."""

    def __init__(
        self, layout: Layout, ledger: Ledger, lock: RLock, *, leftovers: Leftovers, room: Room
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._lock = lock
        self._leftovers = leftovers
        self._room = room

    def take_files(
        self,
        sources: Sources,
        target: Reference | None,
        report: Callable[[Progress], None] | None,
        stop: Stop,
    ) -> Model:
        """Take in a model from open files."""
        total = sum(source.size for source in sources.files)
        self._room.check_writable()
        self._room.check_quota(total)
        with (
            storage_errors(STORE),
            Intake(self._layout, total=total, report=report, stop=stop) as intake,
        ):
            layers = [_take_in(intake, source) for source in sources.files]
            names = [source.name for source in sources.files]
            description = describe_intake(intake, layers, names)
            config = build_config(description, layers)
            intake.add_bytes(config)
            manifest = build_manifest(config, layers)
            stop.check()
            tag = str(target or default_reference(sources.name))
            model = self.commit(intake, manifest, description, sources.modified_at, tag)
            if report:
                report(Progress(total, "", 0, 0, str(intake.cost)))
            return model

    def take_manifest(self, raw: bytes, intake: Intake, tag: str | None = None) -> Model:
        """Check what came with its own manifest and make it a model.  `intake` holds its blobs."""
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
                entry = Entry.of(manifest, description, tags, created)
                entries = self._ledger.replaced(entry)
                self._ledger.change(with_tag(entries, entry, tag) if tag else entries)
            except BaseException:
                self._leftovers.remove_if_possible()
                raise
            return self._ledger.catalog.get(str(manifest.id))


def _take_in(intake: Intake, source: Source) -> Layer:
    pending = intake.add_file(source)
    return Layer(source.media_type, pending.size, pending.digest)
