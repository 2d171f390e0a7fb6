"""What lies in a store's folders: read when it is opened, and swept when models go.

Opening compares sizes and times; only what was touched is hashed again.  A model whose files are
damaged keeps its line, with the reason, and its blobs.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from runnerd.durable import sync_folder
from runnerd.errors import InvalidModelFile
from runnerd.models import bundle
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.catalog import Entry
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.index import IndexedModel
from runnerd.models.layout import Layout, discard
from runnerd.models.manifest import (
    MOST_BYTES,
    Manifest,
    packaged_context_size,
    parse_manifest,
)
from runnerd.models.modelfile import LONGEST_TEXT
from runnerd.regular import open_regular, read

log = logging.getLogger(__name__)


def load_entry(layout: Layout, stamps: dict[Digest, int], line: IndexedModel) -> Entry:
    """Return the model of a line of the index, or why it is damaged; `stamps` is kept true."""
    try:
        raw = read(layout.manifest(line.id), most=MOST_BYTES)
        if Digest.of(raw) != line.id:
            raise InvalidModelFile("its manifest was changed")
        manifest = parse_manifest(raw)
        _check_blobs(layout, stamps, manifest)
        description = bundle.read_description(layout, manifest)
        if description is None:
            description = _describe(layout, manifest)
            bundle.make_bundle(layout, manifest, description)
    except (OSError, InvalidModelFile) as error:
        problem = error.message if isinstance(error, InvalidModelFile) else _os_problem(error)
        log.error("model %s (%s) is damaged: %s", line.id.short, ", ".join(line.tags), problem)
        return Entry(line.id, line.tags, line.created, problem=problem)
    return Entry.of(manifest, description, line.tags, line.created, layout.borrowed)


def look_again(layout: Layout, stamps: dict[Digest, int], entry: Entry) -> Entry:
    """A line as it is now: damaged where a borrowed file is not what it was, else in order."""
    if entry.model is None:
        lent = _lent(layout, entry.id)
        if not lent or not all(file.is_intact() for file in lent):
            return entry
        found = load_entry(layout, stamps, IndexedModel(entry.id, entry.tags, entry.created))
        if found.model is not None:
            log.info("model %s can be used again", ", ".join(entry.tags) or entry.id.short)
        return found
    if not entry.model.borrowed_bytes:
        return entry
    layers = entry.model.manifest.layers
    files = (layout.borrowed.get(layer.digest) for layer in layers)
    gone = [file.path for file in files if file is not None and not file.is_intact()]
    if not gone:
        return entry
    log.warning(
        "model %s cannot be used: %s was moved or changed",
        ", ".join(entry.tags) or entry.id.short,
        gone[0],
    )
    problem = f"{gone[0]} was moved or changed"
    return Entry(entry.id, entry.tags, entry.created, problem=problem)


def named_blobs(layout: Layout, entries: Iterable[Entry]) -> set[Digest] | None:
    """Return the blobs that models have.

    None while a damaged model's manifest cannot be read: any blob may be its own.
    """
    named: set[Digest] = set()
    for entry in entries:
        try:
            manifest = (
                entry.model.manifest
                if entry.model
                else parse_manifest(read(layout.manifest(entry.id), most=MOST_BYTES))
            )
        except (OSError, InvalidModelFile):
            return None
        named |= {layer.digest for layer in manifest.blobs}
    return named


def small_layers(layout: Layout, manifest: Manifest, media_type: str) -> list[str]:
    """Return the texts of the layers of one type, without those that are too large for texts."""
    return [
        read(layout.content(layer.digest), most=LONGEST_TEXT).decode(errors="replace")
        for layer in manifest.of_type(media_type)
        if layer.size <= LONGEST_TEXT
    ]


def others(folder: Path, names: set[str]) -> list[os.DirEntry[str]]:
    """Return everything in a folder but these names.  Raises OSError."""
    return [entry for entry in os.scandir(folder) if entry.name not in names]


def remove_except(folder: Path, names: set[str]) -> None:
    """Remove everything in a folder but these names; what cannot be removed does not save the rest.

    Raises OSError for the first that could not.
    """
    gone = [entry.name for entry in others(folder, names)]
    failure: OSError | None = None
    for name in gone:
        try:
            discard(folder / name)
        except OSError as error:
            log.warning("%s cannot be removed: %s", error.filename, error.strerror)
            failure = failure or error
    if gone:
        sync_folder(folder)
    if failure is not None:
        raise failure


def _check_blobs(layout: Layout, stamps: dict[Digest, int], manifest: Manifest) -> None:
    for layer in manifest.blobs:
        if layout.has_intact(layer.digest, layer.size, stamps.get(layer.digest)):
            continue
        if (borrowed := layout.borrowed.get(layer.digest)) is not None:
            _check_borrowed(layout, layer.digest, borrowed)
            continue
        path = layout.blob(layer.digest)
        # Touched or unknown: only the content can tell.
        if path.lstat().st_size != layer.size or _digest_of(path) != layer.digest:
            raise InvalidModelFile(f"its blob {layer.digest.short} is not what was stored")
        stamps[layer.digest] = path.lstat().st_mtime_ns


def _lent(layout: Layout, id: Digest) -> tuple[BorrowedFile, ...]:
    """The borrowed files of a model that cannot be used."""
    try:
        manifest = parse_manifest(read(layout.manifest(id), most=MOST_BYTES))
    except (OSError, InvalidModelFile):
        return ()
    return tuple(file for layer in manifest.blobs if (file := layout.borrowed.get(layer.digest)))


def _check_borrowed(layout: Layout, digest: Digest, file: BorrowedFile) -> None:
    """Look at a file that looks otherwise than when it was hashed; its content decides.

    Raises errors.InvalidModelFile, OSError.
    """
    found = file.remounted()
    if found is None:
        path = Path(file.path)
        try:
            same = path.lstat().st_size == file.size and _digest_of(path) == digest
        except OSError as error:
            raise InvalidModelFile(f"{file.path} cannot be read: {error.strerror}") from error
        if not same:
            raise InvalidModelFile(f"{file.path} is another file than the one that was borrowed")
        found = BorrowedFile.of(path, path.lstat())
    layout.borrowed = {**layout.borrowed, digest: found}


def _describe(layout: Layout, manifest: Manifest) -> Description:
    layers = manifest.layers
    files = [layout.content(layer.digest) for layer in layers]
    packaged = packaged_context_size(read(layout.blob(manifest.config.digest), most=MOST_BYTES))
    return bundle.describe_files(layers, files, [layer.digest.short for layer in layers], packaged)


def _digest_of(path: Path) -> Digest:
    with open(open_regular(path), "rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def _os_problem(error: OSError) -> str:
    return f"{error.strerror}: {Path(str(error.filename)).name}"
