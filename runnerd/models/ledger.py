"""What the store has, in memory and on the disk, and that both say the same whatever a disk does.

The index file is the commit point of every change.  A change that did not reach it has not
happened; one that did is not taken back, even if the disk then fails to confirm it.  As long as the
disk has not confirmed a change, or nobody can tell whether it was made, nothing else is changed:
`settle` finds out first, from what is on the disk.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator

from runnerd.durable import storage_error, storage_errors, sync_folder
from runnerd.errors import (
    InsufficientStorage,
    RunnerdError,
    StorageFailure,
    Unconfirmed,
    Undetermined,
)
from runnerd.models.catalog import Catalog, Entry
from runnerd.models.digest import Digest
from runnerd.models.index import IndexedModel, read_index, write_index
from runnerd.models.layout import STORE, Layout
from runnerd.models.store_scan import load_entry

log = logging.getLogger(__name__)


class Ledger:
    """Owns the catalog, the blobs' times and the index.  Changed by one thread at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._open_question: RunnerdError | None = None
        self.catalog = Catalog()
        self.stamps: dict[Digest, int] = {}
        self.changed: Callable[[], None] = lambda: None  # called in whatever thread changes it

    def open(self) -> bool:
        """Read the index and the models; return whether the file says all that is known.

        Raises errors.StartupError for an index that cannot be read.
        """
        models, self.stamps = read_index(self._layout)
        known, borrowed = dict(self.stamps), self._layout.borrowed
        self.catalog = Catalog([load_entry(self._layout, self.stamps, line) for line in models])
        unchanged = self.stamps == known and self._layout.borrowed == borrowed
        return unchanged and self._layout.index.exists()

    def change(self, entries: Iterable[Entry], *, at_any_rate: bool = False) -> None:
        """Make `entries` the store's models, on the disk first.

        `at_any_rate`, on a full disk in the space that was held back.  Raises
        errors.InsufficientStorage, StorageFailure; after Unconfirmed and Undetermined nothing may
        be removed that either state of the store needs.
        """
        self.settle()
        after = Catalog(entries)
        try:
            self.save(after, at_any_rate=at_any_rate)
        except Unconfirmed as error:
            self.catalog, self._open_question = after, error
            raise
        except Undetermined as error:
            self._open_question = error
            raise
        self.catalog = after
        self.changed()

    def replaced(self, entry: Entry) -> list[Entry]:
        """Return all entries with this one added, or in the place of what it was."""
        return list((self.catalog.entries | {entry.id: entry}).values())

    def settle(self) -> None:
        """See that the disk has what the last change left.

        Raises errors.StorageFailure while that cannot be known.
        """
        if self._open_question is None:
            return
        try:
            with storage_errors(STORE):
                sync_folder(self._layout.root)
            if isinstance(self._open_question, Undetermined):
                self._read_again()
        except RunnerdError as error:
            raise StorageFailure(
                "the disk has not confirmed the last change of the model store, and nothing else is"
                f" changed before it has: {error.message}"
            ) from error
        log.warning("the disk has confirmed the last change of the model store")
        self._open_question = None

    @property
    def settled(self) -> bool:
        """Whether memory and disk are known to agree."""
        return self._open_question is None

    def save(self, catalog: Catalog | None = None, *, at_any_rate: bool = False) -> None:
        """Write the index down; `at_any_rate` also on a full disk."""
        entries = (self.catalog if catalog is None else catalog).entries.values()
        lines = [IndexedModel(entry.id, entry.tags, entry.created) for entry in entries]
        try:
            write_index(self._layout, lines, self.stamps)
        except InsufficientStorage:
            if not at_any_rate:
                raise
            self._layout.free_space()
            write_index(self._layout, lines, self.stamps)

    def _read_again(self) -> None:
        """Believe the disk: models that are known keep what is known of them."""
        models, stamps = read_index(self._layout)
        self.stamps |= stamps
        known = self.catalog.entries
        self.catalog = Catalog(
            known[line.id].with_tags(line.tags)
            if line.id in known
            else load_entry(self._layout, self.stamps, line)
            for line in models
        )


@contextlib.contextmanager
def provisional() -> Iterator[None]:
    """For files that count only once the index names them: unconfirmed is as good as failed."""
    try:
        yield
    except Unconfirmed as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise storage_error(cause, STORE) from cause
