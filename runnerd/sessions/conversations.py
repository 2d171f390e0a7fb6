"""OpenAI's conversations: lists of items that requests go on from and add to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from runnerd.database import Connection, Database
from runnerd.errors import ConversationNotFound
from runnerd.session_settings import SessionSettings
from runnerd.sessions import conversation_rows as rows
from runnerd.sessions import quotas
from runnerd.sessions.kept_responses import LARGEST, new_id

Item = dict[str, Any]


class Conversations:
    """Owns the tables of conversations and items.

    `owner` is the id of the principal whose a conversation is, here as in every method; items have
    their ids.  What it returns is on the disk.
    """

    def __init__(
        self,
        database: Database,
        settings: Callable[[], SessionSettings],
        clock: Callable[[], float],
    ) -> None:
        """`clock` says Unix time."""
        self._database = database
        self._settings = settings
        self._clock = clock

    async def create(self, owner: str, items: Sequence[Item], metadata: dict[str, str]) -> rows.Row:
        """Begin a conversation; of a principal's the one used longest ago makes room.

        Raises errors.LimitReached.
        """
        now = self._clock()
        row = rows.Row(new_id("conv"), owner, metadata, now, now, now + self._kept_for())

        def work(connection: Connection) -> rows.Row:
            rows.insert(connection, row)
            self._append(connection, owner, row.id, items)
            return row

        return await self._database.write(work)

    async def get(self, owner: str, id: str) -> rows.Row:
        """A conversation.  Raises errors.ConversationNotFound."""
        return await self._database.read(
            lambda connection: rows.found(connection, owner, id, self._clock())
        )

    async def update(self, owner: str, id: str, metadata: dict[str, str]) -> rows.Row:
        """Replace what it is noted with.  Raises errors.ConversationNotFound."""

        def work(connection: Connection) -> rows.Row:
            row = rows.found(connection, owner, id, self._clock())
            rows.update(connection, id, metadata)
            return replace(row, metadata=metadata)

        return await self._database.write(work)

    async def delete(self, owner: str, id: str) -> None:
        """Remove it with its items.  Raises errors.ConversationNotFound."""

        def work(connection: Connection) -> None:
            rows.found(connection, owner, id, self._clock())
            rows.delete(connection, [id])

        await self._database.write(work)

    async def add(self, owner: str, id: str, items: Sequence[Item]) -> None:
        """Add items behind the others.  Raises errors.ConversationNotFound, LimitReached."""
        await self._database.write(lambda connection: self._append(connection, owner, id, items))

    async def items(self, owner: str, id: str) -> list[Item]:
        """All items in their order.  Raises errors.ConversationNotFound."""

        def work(connection: Connection) -> list[Item]:
            rows.found(connection, owner, id, self._clock())
            return rows.items(connection, id)

        return await self._database.read(work)

    async def delete_item(self, owner: str, id: str, item: str) -> rows.Row:
        """Remove an item.  Raises errors.ConversationNotFound."""

        def work(connection: Connection) -> rows.Row:
            row = rows.found(connection, owner, id, self._clock())
            if not rows.delete_item(connection, id, item):
                raise item_not_found(item)
            return row

        return await self._database.write(work)

    def _append(self, connection: Connection, owner: str, id: str, items: Sequence[Item]) -> None:
        settings, now = self._settings(), self._clock()
        rows.append(
            connection, owner, id, items, now=now, expires=now + self._kept_for(), most=LARGEST
        )
        gone = quotas.superfluous(
            rows.holdings(connection, owner),
            most=settings.per_user,
            most_bytes=settings.response_bytes_per_user,
            spared=id,
        )
        rows.delete(connection, gone)

    def _kept_for(self) -> float:
        return self._settings().expire_after


def item_not_found(id: str) -> ConversationNotFound:
    """There is no such item in a conversation."""
    return ConversationNotFound(f"there is no item {id[:100]!r} in this conversation")
