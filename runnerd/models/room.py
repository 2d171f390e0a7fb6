"""Whether there is room for what is to come: on the disk, and within the owner's quota."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from threading import RLock

from runnerd.errors import InsufficientStorage
from runnerd.models.disk_space import allocated_bytes, check_space, size_of
from runnerd.models.layout import Layout
from runnerd.models.ledger import Ledger
from runnerd.models.parts_folder import occupied
from runnerd.units import binary_size

_LOOK_BYTES = 64 * 2**20  # written between two looks at disk and quota


class Room:
    """Looks at the store's disk.  Methods block.

    `lock` is the store's; without `quota_bytes` the disk alone is the limit.
    """

    def __init__(
        self, layout: Layout, ledger: Ledger, lock: RLock, *, quota_bytes: int | None
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._lock = lock
        self._quota_bytes = quota_bytes
        self.copies: Callable[[], int] = lambda: 0
        """The bytes that copies of models take elsewhere on this host's disks, for programs."""

    def usage(self) -> int:
        """Return the bytes that the models occupy; what two models share counts once.

        Uploads count too: they are models to be.
        """
        folders = (self._layout.blobs, self._layout.manifests, self._layout.uploads)
        return sum(size_of(entry) for folder in folders for entry in os.scandir(folder))

    def unfinished(self, *, beside: Collection[str] = ()) -> int:
        """The bytes on the disk of what is on its way, or was and waits to be taken up again.

        `beside` are names of files that do not count.
        """
        folders = (self._layout.parts, self._layout.temporary)
        return sum(occupied(folder, beside=beside) for folder in folders)

    def check_space(self, size: int) -> None:
        """Raise errors.InsufficientStorage where `size` further bytes would fill disk or quota."""
        check_space(self._layout.root, size)
        self.check_quota(size)

    def check_growth(self, size: int, path: Path) -> None:
        """Raise errors.InsufficientStorage where a file cannot grow to `size` bytes."""
        check_space(self._layout.root, max(0, size - allocated_bytes(path)))
        self.check_quota(size, beside=(path,))

    def check_quota(self, size: int, *, beside: Collection[Path] = ()) -> None:
        """Hold `size` bytes against the quota; `beside` are files that they replace or complete.

        What is on its way counts as far as it has come: many at once are held to it together.
        """
        quota = self._quota_bytes
        if quota is None:
            return
        names = {path.name for path in beside}
        taken = self.usage() + self.unfinished(beside=names) + self.copies()
        if size + taken > quota:
            raise InsufficientStorage(
                f"the model needs {binary_size(size)}; the models, their copies and unfinished"
                f" downloads occupy {binary_size(taken)} and may occupy {binary_size(quota)};"
                " remove some with `runnerd rm`, leftovers with `runnerd prune`, or raise"
                " store_quota"
            )

    def check_writable(self) -> None:
        """Find out before long work whether its result could be kept: then nobody waits in vain.

        Raises errors.InsufficientStorage, StorageFailure.
        """
        with self._lock:
            self._ledger.settle()
        self._layout.try_out()


class Growth:
    """How far a file of unknown size may grow; `allow` is asked, with the size that it would have.

    Near the limit every step is asked for, so that what grows ends at the limit and not behind it.
    """

    def __init__(self, allow: Callable[[int], None]) -> None:
        self._allow = allow
        self._allowed = 0

    def reach(self, size: int) -> None:
        """Raise errors.InsufficientStorage where the file may not have `size` bytes."""
        if size <= self._allowed:
            return
        try:
            self._allow(size + _LOOK_BYTES)
            self._allowed = size + _LOOK_BYTES
        except InsufficientStorage:
            self._allow(size)
            self._allowed = size
