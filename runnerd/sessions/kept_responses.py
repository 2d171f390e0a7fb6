"""OpenAI's kept responses, and the conversations that they are part of.

A kept response has the items that it was asked with and the one before it, so that a request can go
on from any of them (`previous_response_id`); those that hang together have one *root*, and are
removed together once the last of them has ended.  Or it was asked in a *conversation*: then its
items were put there in the same transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from runnerd.database import Connection, Database
from runnerd.errors import ClientError, ConversationNotFound, ResponseNotFound
from runnerd.session_settings import SessionSettings
from runnerd.sessions import conversation_rows, quotas
from runnerd.sessions import response_rows as rows

LARGEST = 8 * 2**20  # bytes of responses that hang together, or of a conversation
_UNLIMITED = 2**62

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """A response to be kept: the items that it was asked with, and it itself as it is told."""

    id: str
    principal: str
    previous: str | None
    conversation: str | None
    input: Sequence[Item]
    document: dict[str, Any]
    stored: bool = True  # else only its conversation goes on


class History(NamedTuple):
    """What a request goes on from: the items before it, and those that it names by their ids."""

    items: Sequence[Item] = ()
    named: Mapping[str, Item] = MappingProxyType({})


def new_id(kind: str) -> str:
    """An id of OpenAI's form: `resp`, `conv`, `msg`, ..."""
    return f"{kind}_{secrets.token_hex(24)}"


class KeptResponses:
    """Owns the table of responses.

    `owner` is the id of the principal whose a response is, here as in every method: to everybody
    else it is as one that there never was.
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

    async def keep(self, response: Response) -> bool:
        """Keep a response, and let its conversation go on; whether it was kept.

        It is not where there is too much before it.  Raises errors.ConversationNotFound, and what
        the database cannot do.
        """
        settings, now = self._settings(), self._clock()

        def work(connection: Connection) -> bool:
            position = 0
            if response.conversation is not None:
                position = conversation_rows.append(
                    connection,
                    response.principal,
                    response.conversation,
                    [*response.input, *response.document.get("output", [])],
                    now=now,
                    expires=now + settings.expire_after,
                    most=LARGEST,
                )
            if not response.stored:
                return True
            root = response.id
            if response.previous is not None:
                before = rows.find(connection, response.previous)
                root = response.id if before is None else before.root
            row = rows.Row(
                response.id,
                response.principal,
                root,
                response.previous,
                response.conversation,
                position,
                list(response.input),
                response.document,
                now,
                now + settings.responses_expire_after,
            )
            if rows.bytes_of_root(connection, root) + row.bytes > LARGEST:
                return False
            rows.insert(connection, row)
            gone = quotas.superfluous(
                rows.holdings(connection, response.principal),
                most=_UNLIMITED,
                most_bytes=settings.response_bytes_per_user,
                spared=root,
            )
            rows.delete(connection, gone)
            return True

        return await self._database.write(work)

    async def history(
        self, owner: str, previous: str | None, conversation: str | None, named: Sequence[str]
    ) -> History:
        """What a request goes on from.  Raises errors.ResponseNotFound, ConversationNotFound."""

        def work(connection: Connection) -> History:
            items: list[Item] = []
            if previous is not None:
                self._find(connection, owner, previous)
                items = _items_with(connection, owner, previous)
            if conversation is not None:
                conversation_rows.found(connection, owner, conversation, self._clock())
                items = conversation_rows.items(connection, conversation)
            return History(items, {id: self._named(connection, owner, id) for id in named})

        return await self._database.read(work)

    def _named(self, connection: Connection, owner: str, id: str) -> Item:
        found = rows.item(connection, owner, id) or conversation_rows.item_of(connection, owner, id)
        if found is None:
            raise ResponseNotFound(
                f"the item {id[:100]!r} is not known; send it whole, not by its id alone"
            )
        return found

    async def response(self, owner: str, id: str) -> dict[str, Any]:
        """A response as it was told.  Raises errors.ResponseNotFound."""
        return await self._database.read(
            lambda connection: self._find(connection, owner, id).response
        )

    async def input(self, owner: str, id: str) -> list[Item]:
        """The items that a response was asked with, those before it first.

        Raises errors.ResponseNotFound.
        """

        def work(connection: Connection) -> list[Item]:
            row = self._find(connection, owner, id)
            return [*_items_before(connection, owner, row), *row.input]

        return await self._database.read(work)

    async def forget(self, owner: str, id: str) -> None:
        """Drop a response; what goes on from it has its items as before.

        Raises errors.ResponseNotFound.
        """

        def work(connection: Connection) -> None:
            row = self._find(connection, owner, id)
            rows.hide(connection, id)
            rows.delete_ended(connection, row.root, self._clock())

        await self._database.write(work)

    async def expire(self) -> None:
        """Remove what has ended, and what belongs to users who are no more."""
        now = self._clock()

        def ended(connection: Connection) -> bool:
            return rows.has_ended(connection, now) or conversation_rows.has_ended(connection, now)

        def work(connection: Connection) -> None:
            rows.delete_ended(connection, None, now)
            conversation_rows.delete_ended(connection, now)

        if await self._database.read(ended):
            await self._database.write(work)

    def _find(self, connection: Connection, owner: str, id: str) -> rows.Row:
        row = rows.find(connection, id)
        if row is None or row.hidden or row.principal != owner or row.expires <= self._clock():
            raise ResponseNotFound(
                "this response is not known: it was not kept (`store`), was deleted, has expired,"
                " or had to make room; send the whole conversation as input"
            )
        return row


def _items_with(connection: Connection, owner: str, id: str) -> list[Item]:
    """All items up to and with a response."""
    row = rows.find(connection, id)
    assert row is not None
    if row.conversation is not None:
        try:
            conversation_rows.found(connection, owner, row.conversation, None)
        except ConversationNotFound:
            pass
        else:
            return conversation_rows.items(connection, row.conversation, most=row.position)
    return [*_items_before(connection, owner, row), *row.input, *row.output]


def _items_before(connection: Connection, owner: str, row: rows.Row) -> list[Item]:
    """The items before those that a response was asked with."""
    if row.conversation is not None:
        own = len(row.input) + len(row.output)
        return conversation_rows.items(connection, row.conversation, most=row.position - own)
    parts: list[list[Item]] = []
    while row.previous is not None and (before := rows.find(connection, row.previous)) is not None:
        if before.conversation is not None:
            parts.append(_items_with(connection, owner, before.id))
            break
        parts.append([*before.input, *before.output])
        row = before
    return [item for part in reversed(parts) for item in part]


def check_one_origin(previous: object, conversation: object) -> None:
    """Refuse a request that goes on from two things.  Raises errors.ClientError."""
    if previous is not None and conversation is not None:
        raise ClientError(
            "previous_response_id and conversation: a request goes on from one of them",
            param="conversation",
        )
