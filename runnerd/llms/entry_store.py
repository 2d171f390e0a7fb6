"""Registry entries, and what sources say of models: kept in the database, read from memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from runnerd.database import Connection, Database
from runnerd.errors import RunnerdError
from runnerd.llms import entry_rows as rows
from runnerd.llms.entry import LLMRegistryEntry
from runnerd.llms.entry_rows import Kept, KeptEntry, Tags
from runnerd.models.model import Model
from runnerd.pulls.published import Published

log = logging.getLogger(__name__)


class EntryStore:
    """Owns the entries.  `kept` is what there is now.

    Methods that change something return once it is on the disk, and raise errors.DatabaseFailure,
    StorageFailure or InsufficientStorage where nothing has changed.
    """

    def __init__(self, database: Database, tags: Callable[[], Tags]) -> None:
        """`tags` says which models are here, under which."""
        self._database = database
        self._tags = tags
        self._loop: asyncio.AbstractEventLoop | None = None
        self.kept = Kept({}, {})
        database.when_opened(self._opened)

    async def open(self) -> None:
        """Read what there is; where the database cannot be used, models have their own words."""
        self._loop = asyncio.get_running_loop()
        if self._database.problem is None:
            self.kept = await self._database.read(rows.load)

    async def put(self, kept: KeptEntry) -> None:
        """Keep an entry of an LLM.  Raises errors.LimitReached."""
        tags = self._tags()
        await self._change(lambda connection: rows.put(connection, kept, tags))

    async def publish(self, model: Model, tag: str, said: Published) -> None:
        """Keep what a source says of a model that was pulled; a model is whole without it."""
        tags, id = self._tags(), str(model.id)
        try:
            await self._change(lambda connection: rows.publish(connection, id, tag, said, tags))
        except RunnerdError as error:
            log.warning(
                "the published description of %s could not be saved: %s", model.name, error.message
            )

    def check_room(self, principal: str, coming: int) -> None:
        """Raise errors.LimitReached where a principal has as many entries as it may, with those of
        downloads that are `coming`.
        """
        if principal == rows.OWNERS:
            return
        tags = self._tags()
        own = [each for each in self.kept.llms.values() if each.principal == principal]
        there = sum(each.tag in tags.get(each.model, ()) for each in own)
        rows.check_room(there + coming + 1)

    async def remove(self, uuid: str) -> None:
        """Forget what was said of an LLM."""
        await self._change(lambda connection: rows.remove(connection, uuid))

    async def list_in_catalogue(self, entries: Iterable[LLMRegistryEntry]) -> None:
        """Put entries into the catalogue, all or none.  Raises errors.LimitReached."""
        listed = list(entries)

        def work(connection: Connection) -> None:
            for entry in listed:
                rows.list_in_catalogue(connection, entry)

        await self._change(work)

    async def take_from_catalogue(self, id: str) -> None:
        """Take an entry out of the catalogue."""
        await self._change(lambda connection: rows.take_from_catalogue(connection, id))

    async def _change(self, work: Callable[[Connection], None]) -> None:
        def then_load(connection: Connection) -> Kept:
            work(connection)
            return rows.load(connection)

        await self._database.write(then_load, then=self._publish)

    def _opened(self, connection: Connection) -> None:
        """Called in the database's thread: its content may be another one."""
        found = rows.load(connection)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._publish, found)

    def _publish(self, kept: Kept) -> None:
        self.kept = kept
