"""The files of an offer become a model of the store: claimed or fetched, and taken all at once.

Two pulls that need one file take turns: each locks all its files, in one order for everybody, until
it has committed or failed; the second then finds the blob in the store, or goes on with the part
that the first one left.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from runnerd import threads
from runnerd.errors import InvalidModelFile
from runnerd.models.blob_writer import Pending
from runnerd.models.digest import Digest
from runnerd.models.disk_space import allocated_bytes
from runnerd.models.intake import Fetched
from runnerd.models.model import Model
from runnerd.models.parts import Part
from runnerd.models.store import Store
from runnerd.pulls.file_locks import FileLocks
from runnerd.pulls.offer import Offer, OfferedFile, layer_id
from runnerd.pulls.published import Published
from runnerd.pulls.settings import PullSettings
from runnerd.pulls.transfer import Transfer
from runnerd.pulls.transfer_tasks import TransferTask

log = logging.getLogger(__name__)

KeepPublished = Callable[[Model, str, Published], Awaitable[None]]
"""Keeps what a source says of a model that was pulled under a tag, "" for none."""

_SHARED_BYTES = 4 * 2**20  # smaller files are not worth waiting for another pull


class Fetching:
    """Fetches models into the store, for any number of pulls at once."""

    def __init__(self, store: Store, settings: Callable[[], PullSettings]) -> None:
        self._store = store
        self._settings = settings
        self._turns = FileLocks()
        self.keep_published: KeepPublished | None = None

    async def fetch(self, job: TransferTask, offer: Offer, tag: str | None) -> Model:
        """Fetch the files of an offer and make them a model, which is called `tag`.

        Raises errors.InsufficientStorage, InvalidModelFile, and as `Transfer.run` does.
        """
        keys = {_key(file, job.reference): file for file in offer.files}
        job.names |= {layer_id(file): file.name for file in offer.files}
        async with AsyncExitStack() as stack:
            for key in sorted(keys):
                await stack.enter_async_context(self._turns.take(key, layer_id(keys[key]), job))
            present = {}
            for key, file in keys.items():
                present[key] = await self._claim(stack, file)
            await threads.run(self._check_space, keys, present)
            parts: list[Part] = []
            try:
                pendings = {}
                for key, file in keys.items():
                    pendings[key] = present[key] or await self._transfer(job, key, file, parts)
                    job.progressed(layer_id(file), pendings[key].size, pendings[key].size)
                fetched = [
                    Fetched(file.name, file.media_type, pendings[_key(file, job.reference)])
                    for file in offer.files
                ]
                model = await threads.run(
                    self._store.entrance.accept, fetched, manifest=offer.manifest, tag=tag
                )
                await threads.run_to_end(_remove, parts)
            except InvalidModelFile:
                await threads.run_to_end(_remove, parts)  # fetched right, and of no use
                raise
            finally:
                await threads.run_to_end(_close, parts)
        log.info("pulled %s (%s)", job.reference, model.id.short)
        if offer.published is not None and self.keep_published is not None:
            await self.keep_published(model, tag or "", offer.published)
        return model

    async def _claim(self, stack: AsyncExitStack, file: OfferedFile) -> Pending | None:
        digest = file.digest
        if digest is None:
            return None
        claims = self._store.claims
        found = await threads.run_or_undo(
            lambda: claims.claim(digest), undo=lambda _: claims.disclaim(digest)
        )
        stack.push_async_callback(threads.run_to_end, claims.disclaim, digest)
        return found if found and file.size in (None, found.size) else None

    async def _transfer(
        self, job: TransferTask, key: Digest, file: OfferedFile, parts: list[Part]
    ) -> Pending:
        job.moved = True
        part = self._store.entrance.part(key)
        parts.append(part)
        await threads.run(part.open, file.size)

        def report() -> None:
            job.progressed(layer_id(file), part.size or 0, part.received)

        workers = self._settings().workers
        return await Transfer(file, part, workers=workers, report=report, say=job.say).run()

    def _check_space(
        self, files: dict[Digest, OfferedFile], present: dict[Digest, Pending | None]
    ) -> None:
        """Raise errors.InsufficientStorage before the work where it is sure to fail."""
        needed = 0
        for key, file in files.items():
            if present[key] is None:
                needed += max(
                    0, (file.size or 0) - allocated_bytes(self._store.entrance.part(key).path)
                )
        if needed:
            self._store.room.check_space(needed)


def _remove(parts: Sequence[Part]) -> None:
    for part in parts:
        part.remove()


def _close(parts: Sequence[Part]) -> None:
    for part in parts:
        part.close()


def _key(file: OfferedFile, reference: str) -> Digest:
    """The key of a file's part; large files of one content share one."""
    if file.digest is None:
        return Digest.of(str(file.remote.url).encode())
    if (file.size or _SHARED_BYTES) >= _SHARED_BYTES:
        return file.digest
    return Digest(hashlib.sha256(f"{reference}\n{file.digest}".encode()).hexdigest())
