"""Blobs that somebody is using: nobody removes them meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import RLock

from runnerd.models.blob_writer import Pending
from runnerd.models.digest import Digest
from runnerd.models.layout import Layout
from runnerd.models.ledger import Ledger


class BlobClaims:
    """Counts the claims on each blob.  `lock` is the store's."""

    def __init__(self, layout: Layout, ledger: Ledger, lock: RLock) -> None:
        self._layout = layout
        self._ledger = ledger
        self._lock = lock
        self._claims: Counter[Digest] = Counter()

    def digests(self) -> set[Digest]:
        """The blobs that somebody keeps from being removed."""
        return set(self._claims)

    def claim(self, digest: Digest) -> Pending | None:
        """Keep a blob from being removed until `disclaim`; return it if it is here and unchanged.

        What is not here yet may be claimed too.  Blocks while another change is written.
        """
        with self._lock:
            self._claims[digest] += 1
            stamp = self._ledger.stamps.get(digest)
            borrowed = self._layout.borrowed.get(digest)
        if borrowed is not None:
            found = Pending(Path(borrowed.path), digest, borrowed.size, borrowed)
            return found if borrowed.is_intact() else None
        path = self._layout.blob(digest)
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
