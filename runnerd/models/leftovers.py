"""What lies in the store's folders and belongs to no model: from crashes, failures and removals."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from runnerd.durable import storage_errors
from runnerd.errors import InsufficientStorage, StorageFailure
from runnerd.models.digest import Digest
from runnerd.models.disk_space import size_of
from runnerd.models.layout import STORE, Layout
from runnerd.models.ledger import Ledger
from runnerd.models.store_scan import named_blobs, others, remove_except

log = logging.getLogger(__name__)


class Leftovers:
    """Removes them.  `claimed` says which blobs somebody is about to use.  Methods block."""

    def __init__(self, layout: Layout, ledger: Ledger, claimed: Callable[[], set[Digest]]) -> None:
        self._layout = layout
        self._ledger = ledger
        self._claimed = claimed

    def bytes(self) -> int:
        """The bytes that `remove` would make free.  Raises OSError."""
        found = others(self._layout.manifests, self._ids())
        if (blobs := self._blobs()) is not None:
            found += others(self._layout.blobs, {digest.hex for digest in blobs})
        return sum(size_of(entry) for entry in found)

    def _ids(self) -> set[str]:
        return {id.hex for id in self._ledger.catalog.entries}

    def _blobs(self) -> set[Digest] | None:
        """The blobs that have to stay, None for all of them."""
        named = named_blobs(self._layout, self._ledger.catalog.entries.values())
        return None if named is None else named | self._claimed()

    def remove(self) -> None:
        """Remove every file that no model of the index has.  Raises OSError.

        Blobs stay while a damaged model's manifest cannot be read: they may be its own.
        """
        ids = self._ids()
        remove_except(self._layout.manifests, ids)
        remove_except(self._layout.bundles, ids)
        blobs = self._blobs()
        if blobs is not None:
            stamps = self._ledger.stamps
            self._ledger.stamps = {
                digest: stamp for digest, stamp in stamps.items() if digest in blobs
            }
            borrowed = self._layout.borrowed
            self._layout.borrowed = {
                digest: file for digest, file in borrowed.items() if digest in blobs
            }
            remove_except(self._layout.blobs, {digest.hex for digest in blobs})

    def remove_if_possible(self) -> None:
        """Remove blobs that no model has, after a change that failed; never raises OSError.

        What stays is removed another time.
        """
        if self._ledger.settled:  # else the disk may name what is here
            with at_leisure("what came of a failed change stays"):
                self.remove()


@contextlib.contextmanager
def at_leisure(consequence: str) -> Iterator[None]:
    """Let a failure to write only be said: the next change meets it again."""
    try:
        with storage_errors(STORE):
            yield
    except (InsufficientStorage, StorageFailure) as error:
        log.warning("%s: %s", consequence, error.message)
