"""All users and keys as they are now: an immutable snapshot in memory.

Whoever authenticates a request asks this and never the database.  A change makes a new directory
(`accounts/users`), so that one that was taken in hand is consistent; `version` tells them apart.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import ClassVar, Final

from runnerd.access.principals import Principal, user_principal
from runnerd.access.users import Key, User, key_digest
from runnerd.errors import DatabaseFailure, Unauthorized

_LATER = 5.0  # seconds
_NOBODYS = key_digest("")  # compared with where no key is known, which takes as long


class Directory:
    """Users by id and name, keys by id and digest."""

    __slots__ = (
        "_by_digest", "_by_name", "_has_members", "_keys", "_keys_of", "_unreadable", "_users",
        "version",
    )  # fmt: skip

    EMPTY: ClassVar[Directory]

    def __init__(
        self,
        users: Iterable[User],
        keys: Iterable[Key],
        *,
        version: int = 0,
        unreadable: str | None = None,
    ) -> None:
        """A key of a user that is not among `users` counts for nothing.

        `unreadable` says why it is not known who has keys: then nobody is told that a key is wrong.
        """
        self.version: Final = version
        self._unreadable = unreadable
        self._users = {user.id: user for user in users}
        self._by_name = {user.name.casefold(): user for user in self._users.values()}
        self._keys = {key.id: key for key in keys if key.user_id in self._users}
        self._keys_of: dict[str, list[Key]] = {}  # oldest first
        for key in sorted(self._keys.values(), key=lambda key: key.created):
            self._keys_of.setdefault(key.user_id, []).append(key)
        self._by_digest = {
            key.digest: (key, self._users[key.user_id], user_principal(key.user_id, key.id))
            for key in self._keys.values()
        }
        self._has_members = any(self._users[id].permissions for id in self._keys_of)

    def authenticate(self, secret: str, now: float) -> Principal:
        """Who has this key, at Unix time `now`.

        How long it takes does not depend on how much of a wrong key is right: what is compared is
        its hash.  Raises errors.Unauthorized, which says more than "not valid" only to those who
        have a key that was valid once; errors.DatabaseFailure where it is not known who has keys.
        """
        digest = key_digest(secret)
        found = self._by_digest.get(digest)
        same = hmac.compare_digest(digest, _NOBODYS if found is None else found[0].digest)
        if self._unreadable is not None:
            raise DatabaseFailure(self._unreadable, retry_after=_LATER)
        if found is None or not same:
            raise Unauthorized("the key is not valid")
        key, user, principal = found
        if key.ended(now):
            raise Unauthorized("the key has expired; ask the owner of this host for another one")
        if user.ended(now):
            raise Unauthorized("the user that this key belongs to may not use this host any more")
        return principal

    @property
    def has_keys(self) -> bool:
        """Whether there is any key."""
        return bool(self._keys)

    @property
    def has_members(self) -> bool:
        """Whether there is a user with a key who may do anything; who only registered may not."""
        return self._has_members

    def user(self, id: str) -> User | None:
        """The user with this id."""
        return self._users.get(id)

    def key(self, id: str) -> Key | None:
        """The key with this id."""
        return self._keys.get(id)

    def find(self, name: str) -> User | None:
        """The user with this id or name, in any case."""
        return self._users.get(name) or self._by_name.get(name.casefold())

    def users(self) -> list[User]:
        """All users, by name."""
        return [user for _, user in sorted(self._by_name.items())]

    def keys_of(self, user_id: str) -> list[Key]:
        """The keys of a user, oldest first."""
        return list(self._keys_of.get(user_id, ()))

    def keys(self) -> Iterable[Key]:
        """All keys."""
        return self._keys.values()


Directory.EMPTY = Directory((), ())
