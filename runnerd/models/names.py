"""What models are called, and their removal: of a name, and with the last one of the model."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import Literal

from runnerd.durable import storage_errors
from runnerd.errors import Conflict, InsufficientStorage, StorageFailure, Unconfirmed
from runnerd.models.catalog import Entry, shown, with_tag
from runnerd.models.layout import STORE, Layout
from runnerd.models.ledger import Ledger
from runnerd.models.leftovers import Leftovers
from runnerd.models.parts_folder import old_bytes, sweep
from runnerd.models.reference import parse_tag
from runnerd.models.room import Room
from runnerd.models.uploads import Uploads

Removal = tuple[Literal["Untagged", "Deleted"], str]
Removals = list[Removal]


class Names:
    """Changes what models are called and removes them.  `lock` is the store's.  Methods block."""

    def __init__(
        self,
        layout: Layout,
        ledger: Ledger,
        lock: RLock,
        *,
        leftovers: Leftovers,
        room: Room,
        uploads: Uploads,
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._lock = lock
        self._leftovers = leftovers
        self._room = room
        self._uploads = uploads

    def deletes(self, text: str, *, force: bool = True) -> bool:
        """Say whether `remove(text, force=force)` would delete the model and not only a tag.

        Raises errors.ModelNotFound.
        """
        match = self._ledger.catalog.find(text)
        several = len(self._ledger.catalog.entries[match.id].tags) > 1
        return not several or (match.tag is None and force)

    def tag(self, model: str, target: str) -> str:
        """Let the tag `target` point at `model`; return its canonical form.

        A tag that pointed elsewhere is moved.  Raises errors.ModelNotFound, InvalidReference.
        """
        reference = parse_tag(target)
        with self._lock:
            entry = self._ledger.catalog.entries[self._ledger.catalog.find(model).id]
            self._ledger.change(
                with_tag(self._ledger.catalog.entries.values(), entry, str(reference))
            )
        return str(reference)

    def remove(self, text: str, *, force: bool = False) -> Removals:
        """Remove a tag, and with the last one the model; or a model by its id with all its tags.

        Blobs that another model has stay.  Returns what was done, in order.  Raises
        errors.ModelNotFound, and Conflict for an id with several tags unless `force`;
        InsufficientStorage, StorageFailure (of which an Unconfirmed removal has happened).
        """
        with self._lock:
            catalog = self._ledger.catalog
            match = catalog.find(text)
            entry = catalog.entries[match.id]
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
            before = self._room.usage()
            self._leftovers.remove()
            self._uploads.sweep(age=age)
            return before - self._room.usage() + sweep(self._layout, age=age)

    def prunable_bytes(self) -> int:
        """The bytes that `prune` would make free now.  Blocks.  Raises OSError."""
        with self._lock:
            found = self._leftovers.bytes() + self._uploads.old_bytes(age=0.0)
        return found + old_bytes(self._layout, age=0.0)

    def purge(self) -> None:
        """Remove every model.  Raises as `remove`."""
        with self._lock:
            self._delete(list(self._ledger.catalog.entries.values()))

    def _delete(self, gone: Sequence[Entry]) -> None:
        ids = {entry.id for entry in gone}
        kept = [entry for entry in self._ledger.catalog.entries.values() if entry.id not in ids]
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
